"""A test PKI and servers that behave like the real ones; part of the package."""
