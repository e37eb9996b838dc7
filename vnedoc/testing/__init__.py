"""A test PKI and servers that behave like the real ones; part of the package.

Nothing is loaded here; import the module that is needed:

- :mod:`vnedoc.testing.pki`: a throw-away PKI shaped like that of the Vietnamese government, whose OCSP responder,
  lists of revoked certificates and time-stamping authority answer on loopback, rightly or, when told so, wrongly.
- :mod:`vnedoc.testing.documents`: sample documents in the form of Decree 30/2020/NĐ-CP.
- :mod:`vnedoc.testing.hub`: an exchange axis on loopback.
"""
