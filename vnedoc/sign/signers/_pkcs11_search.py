"""Finding what a URI names: the module, the token in it, the certificate on it. No PIN is needed for that."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes

from vnedoc.errors import ConfigurationError, CredentialError
from vnedoc.sign.signers._pkcs11_errors import token_errors, token_name
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_modules import (
    PRESETS,
    installed_modules,
    load_module,
    module_at,
    module_by_name,
)
from vnedoc.sign.signers._pkcs11_objects import open_session, read_certificates, select_certificates
from vnedoc.sign.signers._pkcs11_uri import PKCS11URI, normalize_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pkcs11.types import Token

    from vnedoc.sign.signers._pkcs11_modules import Module
    from vnedoc.sign.signers._pkcs11_objects import TokenCertificate

__all__ = ["find_token", "matching_tokens", "only_certificate", "serial_of", "with_module"]


def find_token(wanted: PKCS11URI) -> tuple[Module, Token, TokenCertificate | None]:
    """Return the token and, if it shows it without a PIN, the certificate that are meant."""
    places = matching_tokens(wanted)
    if not places:
        present = [token_name(token) for _, token in matching_tokens(_without_token(wanted))]
        if not present:
            raise CredentialError("token.none-present")
        raise CredentialError("token.no-such-token", tokens="; ".join(present))
    found = []
    for module, token in places:
        try:
            with module.lock, token_errors(token), open_session(token) as session:
                entries = select_certificates(session, read_certificates(session), wanted)
        except CredentialError:
            if len(places) == 1:
                raise
            # One that is broken must not stand in the way of the others.
            continue
        found.append((module, token, entries))
    if not any(entries for _, _, entries in found):
        if len(places) > 1:
            names = "; ".join(token_name(token) for _, token in places)
            raise CredentialError("token.several-tokens", tokens=names)
        return (*places[0], None)
    entry = only_certificate(found, wanted)
    module, token = next((module, token) for module, token, entries in found if entry in entries)
    return module, token, entry


def only_certificate(
    found: list[tuple[Module, Token, list[TokenCertificate]]], wanted: PKCS11URI
) -> TokenCertificate:
    """Return the one certificate that fits; otherwise say which there are and how to choose."""
    fitting: dict[tuple[str, bytes], tuple[Token, TokenCertificate]] = {}
    for _, token, entries in found:
        for entry in entries:
            # Two modules may show the same token.
            fitting.setdefault(
                (serial_of(token), entry.certificate.fingerprint(hashes.SHA256())), (token, entry)
            )
    if not fitting:
        named = (wanted.object, wanted.id, wanted.cert_serial) != (None, None, None)
        code = "token.no-such-certificate" if named else "token.no-certificate"
        raise CredentialError(code, token="; ".join(token_name(token) for _, token, _ in found))
    if len(fitting) > 1:
        choices = "; ".join(
            f"{entry.description}, serial={serial_of(token)}" for token, entry in fitting.values()
        )
        raise CredentialError("token.several-certificates", count=len(fitting), choices=choices)
    ((_, entry),) = fitting.values()
    return entry


def _modules(wanted: PKCS11URI) -> Iterable[Module]:
    # RFC 7512, 2.4: a path wins over a name.
    if wanted.module_path is not None:
        return [load_module(module_at(wanted.module_path))]
    if wanted.module_name is not None:
        return [load_module(module_by_name(wanted.module_name))]
    paths = installed_modules()
    if not paths:
        raise ConfigurationError("token.no-module", known=", ".join(PRESETS))
    modules, first_error = [], None
    for path in paths.values():
        try:
            modules.append(load_module(path))
        except ConfigurationError as exc:
            # One broken installation must not hide the token of another.
            first_error = first_error or exc
    if not modules and first_error is not None:
        raise first_error
    return modules


def matching_tokens(wanted: PKCS11URI) -> list[tuple[Module, Token]]:
    found = []
    for module in _modules(wanted):
        if not _library_fits(wanted, module):
            continue
        with module.lock:
            try:
                slots = module.library.get_slots(token_present=True)
            except cryptoki.PKCS11Error as exc:
                raise ConfigurationError(
                    "token.module-failed", path=module.path, reason=type(exc).__name__
                ) from exc
            for slot in slots:
                with contextlib.suppress(cryptoki.PKCS11Error):
                    # A slot that has just been emptied, or holds a card of another kind.
                    token = slot.get_token()
                    if _is_set_up(token) and _token_fits(wanted, token):
                        found.append((module, token))
    return found


def _is_set_up(token: Token) -> bool:
    ready = cryptoki.TokenFlag.TOKEN_INITIALIZED | cryptoki.TokenFlag.USER_PIN_INITIALIZED
    return bool(token.flags & ready)


def _library_fits(wanted: PKCS11URI, module: Module) -> bool:
    library = module.library
    major, minor = library.library_version
    return (
        wanted.library_manufacturer in {None, normalize_label(library.manufacturer_id)}
        and wanted.library_description in {None, normalize_label(library.library_description)}
        and wanted.library_version in {None, f"{major}.{minor}", *([str(major)] if minor == 0 else [])}
    )


def _token_fits(wanted: PKCS11URI, token: Token) -> bool:
    slot = token.slot
    return (
        wanted.token in {None, normalize_label(token.label)}
        and wanted.serial in {None, serial_of(token)}
        and wanted.manufacturer in {None, normalize_label(token.manufacturer_id)}
        and wanted.model in {None, normalize_label(token.model)}
        and wanted.slot_id in {None, slot.slot_id}
        and wanted.slot_description in {None, normalize_label(slot.slot_description)}
        and wanted.slot_manufacturer in {None, normalize_label(slot.manufacturer_id)}
    )


def _without_token(wanted: PKCS11URI) -> PKCS11URI:
    return PKCS11URI(module_path=wanted.module_path, module_name=wanted.module_name)


def serial_of(token: Token) -> str:
    return normalize_label(token.serial.decode("utf-8", "replace"))


def with_module(uri: PKCS11URI, path: str) -> PKCS11URI:
    """Return a URI that names a module, by its short name where it has one."""
    name = next((name for name, known in installed_modules().items() if str(known.resolve()) == path), None)
    if name is None:
        return dataclasses.replace(uri, module_path=path)
    return dataclasses.replace(uri, module_name=name)
