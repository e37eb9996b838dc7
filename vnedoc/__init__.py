"""vnedoc signs, verifies and exchanges the administrative documents of Vietnamese state agencies.

The names below are loaded when they are first used: ``import vnedoc`` itself loads nothing heavy.

    import vnedoc

    with vnedoc.open_signer("pkcs12:leader.p12", secret=ask) as signer:
        vnedoc.sign_pdf(source, target, signer=signer, options=vnedoc.SigningOptions(role=vnedoc.Role.INVISIBLE))
    vnedoc.verify_pdf(target, trust=vnedoc.load_trust("shipped:vn-government")).raise_for_status()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from vnedoc._internal.version import VERSION as __version__  # noqa: N811 - the name Python gives a version

if TYPE_CHECKING:
    from vnedoc.agencies import Agency as Agency
    from vnedoc.agencies import AgencyDirectory as AgencyDirectory
    from vnedoc.agencies import load_directory as load_directory
    from vnedoc.config import Config as Config
    from vnedoc.config import load_config as load_config
    from vnedoc.errors import VnedocError as VnedocError
    from vnedoc.exchange.headers import DocumentHeader as DocumentHeader
    from vnedoc.exchange.headers import Organization as Organization
    from vnedoc.exchange.models import Attachment as Attachment
    from vnedoc.exchange.package import read_package as read_package
    from vnedoc.exchange.package import reply_header as reply_header
    from vnedoc.exchange.package import write_package as write_package
    from vnedoc.exchange.service import Exchange as Exchange
    from vnedoc.sign.appearance import load_picture as load_picture
    from vnedoc.sign.batch import sign_many as sign_many
    from vnedoc.sign.extension import extend_pdf as extend_pdf
    from vnedoc.sign.external import complete_pdf as complete_pdf
    from vnedoc.sign.external import prepare_pdf as prepare_pdf
    from vnedoc.sign.models import Box as Box
    from vnedoc.sign.models import Placement as Placement
    from vnedoc.sign.models import Role as Role
    from vnedoc.sign.models import SignatureLevel as SignatureLevel
    from vnedoc.sign.roles import CopyKind as CopyKind
    from vnedoc.sign.roles import SigningOptions as SigningOptions
    from vnedoc.sign.senders import ExpectedSender as ExpectedSender
    from vnedoc.sign.signers import open_signer as open_signer
    from vnedoc.sign.signing import plan_pdf as plan_pdf
    from vnedoc.sign.signing import sign_pdf as sign_pdf
    from vnedoc.sign.timestamps import TimestampClient as TimestampClient
    from vnedoc.sign.trust import TrustStore as TrustStore
    from vnedoc.sign.trust import load_trust as load_trust
    from vnedoc.sign.verification import verify_pdf as verify_pdf

_HOMES = {
    "Agency": "agencies",
    "AgencyDirectory": "agencies",
    "Attachment": "exchange.models",
    "Box": "sign.models",
    "Config": "config",
    "CopyKind": "sign.roles",
    "DocumentHeader": "exchange.headers",
    "Exchange": "exchange.service",
    "ExpectedSender": "sign.senders",
    "Organization": "exchange.headers",
    "Placement": "sign.models",
    "Role": "sign.models",
    "SignatureLevel": "sign.models",
    "SigningOptions": "sign.roles",
    "TimestampClient": "sign.timestamps",
    "TrustStore": "sign.trust",
    "VnedocError": "errors",
    "complete_pdf": "sign.external",
    "extend_pdf": "sign.extension",
    "load_config": "config",
    "load_directory": "agencies",
    "load_picture": "sign.appearance",
    "load_trust": "sign.trust",
    "open_signer": "sign.signers",
    "plan_pdf": "sign.signing",
    "prepare_pdf": "sign.external",
    "read_package": "exchange.package",
    "reply_header": "exchange.package",
    "sign_many": "sign.batch",
    "sign_pdf": "sign.signing",
    "verify_pdf": "sign.verification",
    "write_package": "exchange.package",
}

__all__ = [  # noqa: PLE0604 - the names are texts; ruff cannot see it
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vnedoc' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vnedoc.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
