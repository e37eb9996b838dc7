"""Keys at services of the Cloud Signature Consortium: API 1.0.4.0 and API 2.0.0.2.

``csc+https://HOST/PATH?credential=ID&api=v1&client=ID`` signs with one credential. The service is signed in to with
the client's id and secret (OAuth2 client credentials), with a user's name and password (``auth/login``), or by the
user in the browser (OAuth2 authorization code). The credential is authorised with a PIN, a one-time code, an answer,
an app on the phone, in the browser, or by nothing, as it says itself. All hashes of one batch are bound to one
authorisation.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError, RefusedError, UsageError
from vnedoc.sign.signers._csc_client import APIVersion, CSCClient, to_base64
from vnedoc.sign.signers._oauth2 import AuthorizationCodeFlow, OAuth2Endpoints, check_endpoint
from vnedoc.sign.signers._remote import JSONService, RemoteSigner, Reply, Secrets, make_remote_client
from vnedoc.sign.signers._remote_address import RemoteAddress, RemoteOptions
from vnedoc.sign.signers.base import SecretPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers._csc_credential import CSCCredential
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["APIVersion", "CSCSigner", "RemoteOptions", "open_csc"]

_OPTIONS = frozenset(
    {
        "credential", "api", "client", "user", "scope", "sign-in", "client-type", "redirect-port",
        "token-url", "authorize-url", "revoke-url",
    }
)  # fmt: skip
_CLIENT_TYPES = ("confidential", "public")


class CSCSigner(RemoteSigner):
    """A credential at a service.

    Args:
        calls: The way to the service.
        credential: The credential.
        mechanism: See :class:`~vnedoc.sign.signers.base.Signer`; ``None`` takes what the credential offers.
    """

    def __init__(
        self, calls: CSCClient, credential: CSCCredential, *, mechanism: SignatureMechanism | None = None
    ) -> None:
        super().__init__(
            credential.certificate,
            credential.chain,
            mechanism=mechanism or calls.preferred_mechanism(credential),
            service=calls.service,
            batch_size=credential.multisign,
        )
        self._calls = calls
        self._credential = credential

    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        # Before anybody is asked for a PIN: does the key sign in this way at all?
        self._calls.algorithm(self._credential, self.mechanism, digest_algorithm)
        sad = self._calls.authorize(self._credential, hashes, digest_algorithm)
        return self._calls.sign_hashes(
            self._credential, hashes, sad=sad, mechanism=self.mechanism, digest_algorithm=digest_algorithm
        )


def open_csc(
    uri: str,
    *,
    secret: SecretCallback,
    mechanism: SignatureMechanism | None = None,
    options: RemoteOptions | None = None,
) -> Signer:
    """Open a key at a service of the Cloud Signature Consortium.

    Args:
        uri: ``csc+https://HOST/PATH?credential=ID&api=v1|v2&client=ID|user=NAME``. ``PATH`` is what comes before
            ``/csc/v1``. Without ``credential`` the service must have exactly one. With ``sign-in=browser`` the user
            signs in in the browser; a credential that is authorised there needs ``client`` only.
        secret: Called with a :class:`~vnedoc.sign.signers.base.SecretPrompt` for each secret.
        mechanism: How bytes are signed; ``None`` takes what the credential offers.
        options: How long to wait, and how an address is shown to the person.

    Raises:
        UsageError: The address is wrong.
        CredentialError: The service does not accept the credentials, or has no such key.
        RemoteError: The service did not answer, or not by its protocol.
        RefusedError: The service said no.
    """
    address = RemoteAddress.parse("csc", uri, known=_OPTIONS)
    options = address.apply_to(options or RemoteOptions())
    api = APIVersion(address.choose("api", [version.value for version in APIVersion]))
    _check_names(address)
    secrets = Secrets(secret)
    client = make_remote_client(address, secrets=secrets, options=options)
    service = JSONService(
        address.base_url, name=address.host, client=client, secrets=secrets, options=options
    )
    prefix = f"csc/{api}/"
    calls = CSCClient(service, api=api, prefix=prefix)
    try:
        info = calls.info()
        methods = info.get("methods")
        if isinstance(methods, list) and "signatures/signHash" not in methods:
            raise RefusedError(
                "remote-signing.method-missing",
                service=service.name,
                method="signatures/signHash",
                remote_code="methods",
                remote_message="signatures/signHash",
            )
        calls.flow = _flow(address, calls, info)
        service.sign_in = _way_to_sign_in(address, calls, info, prefix)
        calls.asynchronous = api is APIVersion.V2 and info.get("asynchronousOperationMode") is True
        credential = calls.credential(_credential_id(address, calls))
        return CSCSigner(calls, credential, mechanism=mechanism)
    except BaseException:
        service.close()
        raise


def _credential_id(address: RemoteAddress, calls: CSCClient) -> str:
    chosen = address.get("credential")
    if chosen is not None:
        return chosen
    user = address.get("user") if address.get("client") is not None else None
    ids = calls.list_credentials(user)
    if len(ids) == 1:
        return ids[0]
    if not ids:
        owner = user or address.get("user") or address.get("client") or address.host
        raise CredentialError("remote-signing.no-certificate", service=address.host, owner=owner)
    known = calls.service.secrets.clean(", ".join(ids))
    raise CredentialError(
        "remote-signing.choose-credential", service=address.host, known=known, name="credential"
    )


def _check_names(address: RemoteAddress) -> None:
    """Refuse an address that does not say who signs in, before anything is sent."""
    user, client = address.get("user"), address.get("client")
    if user is None and client is None and address.get("client-cert") is None:
        raise UsageError("remote-signing.missing-option", kind=address.kind, name="client")
    if user is not None and ":" in user:
        # RFC 7617, section 2: the name could not be told from the password.
        raise UsageError("remote-signing.bad-option", name="user", value=user)
    if _in_browser(address) and client is None:
        raise UsageError("remote-signing.missing-option", kind=address.kind, name="client")
    address.choose("client-type", _CLIENT_TYPES)
    _redirect_port(address)


def _in_browser(address: RemoteAddress) -> bool:
    return address.choose("sign-in", ("client", "browser")) == "browser"


def _redirect_port(address: RemoteAddress) -> int:
    port = address.get("redirect-port") or "0"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise UsageError("remote-signing.bad-option", name="redirect-port", value=port)
    return int(port)


def _flow(
    address: RemoteAddress, calls: CSCClient, info: Mapping[str, object]
) -> AuthorizationCodeFlow | None:
    """Return how a person is asked in the browser, if the address and the service allow it."""
    client = address.get("client")
    if client is None:
        return None
    endpoints = _endpoints(address, calls.service, info, required=_in_browser(address))
    if endpoints is None or endpoints.authorize is None:
        return None
    return AuthorizationCodeFlow(
        calls.service,
        endpoints,
        client=client,
        confidential=address.choose("client-type", _CLIENT_TYPES) == "confidential",
        port=_redirect_port(address),
        fault=calls.error,
    )


def _way_to_sign_in(
    address: RemoteAddress, calls: CSCClient, info: Mapping[str, object], prefix: str
) -> Callable[[], tuple[str, float]] | None:
    """Choose between OAuth2 and ``auth/login`` (API 1.0.4.0, 8.3), by what the address names."""
    client, user = address.get("client"), address.get("user")
    if client is None and user is None:
        return None
    offered = info.get("authType")
    wanted = "basic" if client is None else "oauth2code" if _in_browser(address) else "oauth2client"
    if isinstance(offered, list) and wanted not in offered:
        raise CredentialError(
            "remote-signing.no-sign-in",
            service=calls.service.name,
            known=calls.service.secrets.clean(", ".join(map(str, offered))),
        )
    scope = address.get("scope") or "service"
    if wanted == "oauth2code":
        flow = calls.flow
        assert flow is not None
        calls.service.sign_out = flow.revoke
        return lambda: flow.sign_in(scope)
    if client is not None:
        endpoints = _endpoints(address, calls.service, info, required=True)
        assert endpoints is not None
        return lambda: _sign_in_as_client(calls, endpoints.token, client, scope)
    assert user is not None
    return lambda: _sign_in_as_user(calls, f"{prefix}auth/login", user)


def _endpoints(
    address: RemoteAddress, service: JSONService, info: Mapping[str, object], *, required: bool
) -> OAuth2Endpoints | None:
    """Return where OAuth2 is done: as the address says, or below the address that the service gives."""
    found: dict[str, str] = {}
    base = info.get("oauth2")
    for name in ("token", "authorize", "revoke"):
        url = address.get(f"{name}-url")
        if url is None and isinstance(base, str):
            url = f"{base.rstrip('/')}/oauth2/{name}"
        if url is not None:
            # Secrets go there, and people: as safely as to the service itself.
            found[name] = check_endpoint(service, url)
    needed = ("token", "authorize") if _in_browser(address) else ("token",)
    for name in needed:
        if name not in found and required:
            raise UsageError("remote-signing.missing-option", kind=address.kind, name=f"{name}-url")
    return OAuth2Endpoints(**found) if "token" in found else None


def _sign_in_as_client(calls: CSCClient, url: str, client: str, scope: str) -> tuple[str, float]:
    service = calls.service
    prompt = SecretPrompt("remote-signing.prompt-client-secret", client=client, service=service.name)
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": service.secrets.keep(prompt),
        "scope": scope,
    }
    content = urllib.parse.urlencode(form).encode("ascii")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _token(calls, service.post_plain(url, content, headers=headers))


def _sign_in_as_user(calls: CSCClient, path: str, user: str) -> tuple[str, float]:
    service = calls.service
    prompt = SecretPrompt("remote-signing.prompt-password", user=user, service=service.name)
    pair = to_base64(f"{user}:{service.secrets.keep(prompt)}".encode())
    service.secrets.hide(pair)
    return _token(calls, service.post_plain(path, {}, headers={"Authorization": f"Basic {pair}"}))


def _token(calls: CSCClient, reply: Reply) -> tuple[str, float]:
    service = calls.service
    if reply.status in {400, 401, 403}:
        service.secrets.forget()
        raise CredentialError("remote-signing.wrong-secret", **service.refusal(reply).values())
    if reply.status != 200:
        raise calls.error(reply)
    return service.token_in(reply)
