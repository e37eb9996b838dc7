"""Remote signing services on loopback that say no where the real ones would.

- :class:`FakeCSCService`: the API of the Cloud Signature Consortium, versions 1 and 2;
- :class:`FakeSmartCAService`: VNPT SmartCA;
- :class:`FakeMySignService`: Viettel MySign, both faces;
- :class:`FakeMSSService`: SIM cards, by ETSI TS 102 204.

A :class:`FakeBrowser` walks through the pages of a :class:`FakeCSCService` as the person would.

Each signs with an identity of the test PKI, has a person with a phone (:class:`Holder`), and can be made to fail::

    with FakeSmartCAService(pki.leader) as service:
        service.holder.decision = "decline"
        open_signer(service.address, secret=secret)
"""

from __future__ import annotations

from vnedoc.testing.remote_signing._oauth2 import FakeBrowser
from vnedoc.testing.remote_signing._service import Decision, FakeService, Holder, json_answer
from vnedoc.testing.remote_signing.csc import CSCServiceOptions, FakeCSCService
from vnedoc.testing.remote_signing.mss import FakeMSSService, MSSServiceOptions
from vnedoc.testing.remote_signing.mysign import FakeMySignService, MySignServiceOptions
from vnedoc.testing.remote_signing.smartca import FakeSmartCAService, SmartCAServiceOptions

__all__ = [
    "CSCServiceOptions",
    "Decision",
    "FakeBrowser",
    "FakeCSCService",
    "FakeMSSService",
    "FakeMySignService",
    "FakeService",
    "FakeSmartCAService",
    "Holder",
    "MSSServiceOptions",
    "MySignServiceOptions",
    "SmartCAServiceOptions",
    "json_answer",
]
