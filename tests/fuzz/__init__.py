"""Fuzz targets: modules ``fuzz_NAME`` with ``seeds()`` and ``one(content)``; run them with ``python -m tests.fuzz``."""
