"""Make a PKI shaped like the government's second generation; its services answer while the block runs."""

import tempfile
from pathlib import Path

from vnedoc.testing.pki import running_pki

with tempfile.TemporaryDirectory() as folder, running_pki() as pki:
    files = pki.write(Path(folder) / "pki", passphrase="vnedoc-TEST")
    print("files:", ", ".join(sorted(files)))
    print("leader:", pki.leader.certificate.subject.rfc4514_string())
    print("agency:", pki.agency.certificate.subject.rfc4514_string())
    print("time-stamps at", pki.tsa_url)
