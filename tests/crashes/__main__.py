"""``python -m tests.crashes``."""

import sys

from tests.crashes.table import main

sys.exit(main())
