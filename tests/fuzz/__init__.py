"""Fuzz targets: modules ``fuzz_NAME`` with ``seeds()`` and ``one(content)``: ``python -m tests.fuzz``."""
