"""Keys on tokens and HSMs through PKCS#11 2.40: ``pkcs11:`` URIs (RFC 7512).

The certificate is read before anybody is asked for a PIN, the PIN is sent once, and one login serves any number of
signatures. A token that cannot hash is given a digest; what comes back is checked by the base class.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.asymmetric import ec

from vnedoc.errors import CredentialError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers._pkcs11_errors import PIN_CODES, pin_state, token_error, token_errors, token_name
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_login import ask_pin, log_in
from vnedoc.sign.signers._pkcs11_mechanisms import USED_MECHANISMS, ecdsa_as_der, signing_steps
from vnedoc.sign.signers._pkcs11_modules import (
    PRESETS,
    find_module,
    installed_modules,
    release_module,
)
from vnedoc.sign.signers._pkcs11_objects import (
    TokenCertificate,
    find_private_key,
    issuers_among,
    open_session,
    read_attribute,
    read_certificates,
    select_certificates,
)
from vnedoc.sign.signers._pkcs11_search import (
    find_token,
    matching_tokens,
    only_certificate,
    serial_of,
    with_module,
)
from vnedoc.sign.signers._pkcs11_uri import PKCS11URI, normalize_label
from vnedoc.sign.signers.base import Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkcs11.types import Object, Session, Token

    from vnedoc.sign.signers._pkcs11_login import LoginTicket
    from vnedoc.sign.signers._pkcs11_mechanisms import SigningStep
    from vnedoc.sign.signers._pkcs11_modules import Module
    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "PKCS11URI",
    "PRESETS",
    "PKCS11Signer",
    "TokenCertificate",
    "TokenDescription",
    "describe_tokens",
    "find_module",
    "installed_modules",
    "release_module",
]


@dataclasses.dataclass(frozen=True, slots=True)
class TokenDescription:
    """A token as it can be seen without its PIN."""

    module: str
    """Path of the module."""
    slot_id: int
    """Number of the slot."""
    label: str
    """Label, in NFC."""
    serial: str
    """Serial number."""
    manufacturer: str
    """Manufacturer."""
    model: str
    """Model."""
    pin: str
    """What the token says of its PIN: ``ok``, ``count-low``, ``final-try`` or ``locked``."""
    mechanisms: tuple[str, ...]
    """The signature mechanisms that we can use."""
    certificates: tuple[TokenCertificate, ...]
    """The certificates that the token shows without a PIN, those of authorities included."""

    def uri_for(self, entry: TokenCertificate) -> str:
        """Return the URI that names one of the certificates."""
        named = PKCS11URI(
            token=self.label or None,
            serial=self.serial or None,
            cert_serial=entry.certificate.serial_number,
        )
        return with_module(named, self.module).as_text()


class PKCS11Signer(Signer):
    """A key on a token. Make one with :meth:`from_uri`; it may be used by several threads, not after a fork.

    Args:
        module: The module.
        token: The token.
        session: A session of this signer's own.
        ticket: Its share in the login; ``None`` if the token wants none.
        entry: The signing certificate.
        pool: All certificates of the token, for the chain.
        key: The private key.
        secret: Asked for the PIN of each signature where the key wants one.
        mechanism: See :class:`~vnedoc.sign.signers.base.Signer`.
    """

    def __init__(
        self,
        *,
        module: Module,
        token: Token,
        session: Session,
        ticket: LoginTicket | None,
        entry: TokenCertificate,
        pool: Sequence[TokenCertificate],
        key: Object,
        secret: SecretCallback,
        mechanism: SignatureMechanism | None,
    ) -> None:
        chain = issuers_among(entry.certificate, pool)
        super().__init__(entry.certificate, chain, mechanism=mechanism)
        self._module, self._token, self._session, self._ticket = module, token, session, ticket
        self._key, self._secret = key, secret
        with token_errors(token):
            self._offered = frozenset(int(item) for item in token.slot.get_mechanisms())
            # Tokens older than PKCS#11 2.20 do not know the attribute.
            self._pin_each_time = bool(read_attribute(key, cryptoki.Attribute.ALWAYS_AUTHENTICATE))
        self._signing_pin: str | None = None
        self._refusal: CredentialError | None = None
        self._closed = False

    @classmethod
    def from_uri(
        cls, uri: str, *, secret: SecretCallback, mechanism: SignatureMechanism | None = None
    ) -> Self:
        """Open the key that a URI names; the PIN is asked for once and sent once.

        Raises:
            UsageError: The URI is malformed or carries a PIN.
            ConfigurationError: The module is missing or unusable.
            CredentialError: No such token or certificate, several of them, or the PIN is not accepted.
        """
        wanted = PKCS11URI.parse(uri)
        module, token, entry = find_token(wanted)
        ticket = log_in(module, token, secret=secret)
        session = None
        try:
            with module.lock, token_errors(token):
                session = open_session(token)
                pool = read_certificates(session)
                if entry is None:
                    # Some tokens hide even the certificates until somebody has logged in.
                    entry = only_certificate(
                        [(module, token, select_certificates(session, pool, wanted))], wanted
                    )
                key = find_private_key(session, entry, token)
                return cls(
                    module=module,
                    token=token,
                    session=session,
                    ticket=ticket,
                    entry=entry,
                    pool=pool,
                    key=key,
                    secret=secret,
                    mechanism=mechanism,
                )
        except BaseException:
            with module.lock, contextlib.suppress(cryptoki.PKCS11Error):
                if session is not None:
                    session.close()
            if ticket is not None:
                ticket.release()
            raise

    @property
    def token(self) -> str:
        """The label and the serial number of the token."""
        return token_name(self._token)

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        with self._module.lock:
            self._check_usable()
            for step in signing_steps(self.mechanism, digest_algorithm):
                if self._offered and int(step.mechanism) not in self._offered:
                    continue
                try:
                    value = self._sign_by(step, content)
                except (cryptoki.MechanismInvalid, cryptoki.MechanismParamInvalid, cryptoki.DataLenRange):
                    # Listed, but not for this key or not for so much: the next way asks for less.
                    continue
                except cryptoki.PKCS11Error as exc:
                    raise self._failed(exc) from exc
                if self.mechanism is SignatureMechanism.ECDSA:
                    return ecdsa_as_der(value, self._curve_bytes(), token_name(self._token))
                return value
        raise CredentialError(
            "token.no-mechanism", token=self.token, reason=f"{self.mechanism.value}, {digest_algorithm}"
        )

    def _sign_by(self, step: SigningStep, content: bytes) -> bytes:
        options: dict[str, object] = {"mechanism": step.mechanism, "mechanism_param": step.parameter}
        if self._pin_each_time:
            if self._signing_pin is None:
                self._signing_pin = ask_pin(self._token, secret=self._secret, signing=True)
            options["pin"] = self._signing_pin
        value: bytes = self._key.sign(step.prepare(content), **options)  # type: ignore[attr-defined] # seen to be there when the key was found
        return value

    def _failed(self, error: cryptoki.PKCS11Error) -> CredentialError:
        ours = token_error(error, self._token)
        if ours.code in PIN_CODES:
            # A batch calls again for its next file; the same PIN must not reach the token again.
            self._signing_pin = None
            self._refusal = ours
        elif ours.code in {"token.removed", "token.session-lost", "token.logged-out"}:
            self._refusal = ours
            if self._ticket is not None:
                self._ticket.forget()
        return ours

    def _check_usable(self) -> None:
        if self._module.process != os.getpid():
            raise CredentialError("token.other-process")
        if self._module.released:
            raise CredentialError("token.session-lost", token=self.token)
        if self._closed:
            raise CredentialError("token.closed", token=self.token)
        if self._refusal is not None:
            raise CredentialError(self._refusal.code, **self._refusal.values)

    def _curve_bytes(self) -> int:
        public = self.certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return (public.curve.key_size + 7) // 8

    def close(self) -> None:
        """Close the session; the last signer on the token logs out. Calling it again does nothing."""
        if self._closed or not self._module.usable:
            return
        with self._module.lock:
            self._closed = True
            self._signing_pin = None
            with contextlib.suppress(cryptoki.PKCS11Error):
                # A token that is gone has closed its sessions by itself.
                self._session.close()
            if self._ticket is not None:
                self._ticket.release()


def describe_tokens(uri: str = "pkcs11:") -> list[TokenDescription]:
    """Return the tokens that a URI fits, as far as they show themselves without a PIN.

    With attributes of an object, each token carries only the certificates that are meant.

    Raises:
        UsageError: The URI is malformed.
        ConfigurationError: No module is installed, or the one that is named is missing or unusable.
        CredentialError: No token that fits can be read.
    """
    wanted = PKCS11URI.parse(uri)
    described, first_error = [], None
    for module, token in matching_tokens(wanted):
        try:
            described.append(_describe(module, token, wanted))
        except CredentialError as exc:
            # One that is being pulled out, or is broken, must not hide the others.
            first_error = first_error or exc
    if not described and first_error is not None:
        raise first_error
    return described


def _describe(module: Module, token: Token, wanted: PKCS11URI) -> TokenDescription:
    with module.lock, token_errors(token):
        with open_session(token) as session:
            certificates = read_certificates(session)
            if (wanted.object, wanted.id, wanted.cert_serial) != (None, None, None):
                certificates = select_certificates(session, certificates, wanted)
        offered = {int(item) for item in token.slot.get_mechanisms()}
        return TokenDescription(
            module=str(module.path),
            slot_id=token.slot.slot_id,
            label=normalize_label(token.label),
            serial=serial_of(token),
            manufacturer=normalize_label(token.manufacturer_id),
            model=normalize_label(token.model),
            pin=pin_state(token),
            mechanisms=tuple(item.name for item in USED_MECHANISMS if int(item) in offered),
            certificates=tuple(certificates),
        )
