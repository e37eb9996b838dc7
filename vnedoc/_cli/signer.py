"""``vnedoc signer``: which keys there are, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli.secrets import open_asked_signer, secret_options
from vnedoc.errors import CredentialError, ExitCode

if TYPE_CHECKING:
    from cryptography import x509

    from vnedoc._cli.main import CLIState
    from vnedoc.sign.report import Finding
    from vnedoc.sign.signers.pkcs11 import TokenDescription

__all__ = ["signer"]

SCHEMA = "vnedoc.signers/1"

_URI = click.argument("uri", metavar="URI")


@click.group()
def signer() -> None:
    """Show the keys on tokens, and try whether a key can sign."""


@signer.command("list")
@click.option(
    "--module",
    metavar="PATH|NAME",
    help="PKCS#11 module: a path, or bit4id, safenet, feitian, watchdata, safesign, gemalto, fpt, viettel, softhsm. "
    "Default: all that are installed.",
)
@format_option
@click.pass_context
def list_(context: click.Context, *, module: str | None, form: str) -> None:
    """List the tokens that are plugged in, their certificates, and the URI of each. Asks for no PIN.

    Exit codes: 0 shown; 5 no module, or no token is plugged in.
    """
    from vnedoc.sign.signers import pkcs11

    uri = pkcs11.PKCS11URI()
    if module is not None:
        uri = pkcs11.PKCS11URI(module_path=str(pkcs11.find_module(module)))
    tokens = pkcs11.describe_tokens(uri.as_text())
    if not tokens:
        raise CredentialError("token.none-present")
    _show_tokens(_state(context), tokens, form=form, with_authorities=False)


@signer.command()
@_URI
@format_option
@secret_options
@click.pass_context
def show(context: click.Context, /, uri: str, *, form: str, **secrets: Any) -> None:  # click's values
    """Show the certificates that URI names. A token is not asked for its PIN; a key file needs its passphrase.

    Exit codes: 0 shown; 2 the URI is malformed; 5 no such token, certificate or key.
    """
    state = _state(context)
    if uri.lower().startswith("pkcs11:"):
        from vnedoc.sign.signers.pkcs11 import describe_tokens

        tokens = describe_tokens(uri)
        if not tokens:
            raise CredentialError("token.none-present")
        _show_tokens(state, tokens, form=form, with_authorities=True)
        return
    with open_asked_signer(state, {"signer_uri": uri, **secrets}) as opened:
        described = [_plain_certificate(state, entry) for entry in opened.certificate_chain]
    if form == "json":
        echo_document(SCHEMA, tokens=[], certificates=described)
        return
    for entry in described:
        _show_certificate(state, entry)


@signer.command()
@_URI
@format_option
@secret_options
@click.pass_context
def test(context: click.Context, /, uri: str, *, form: str, **secrets: Any) -> int:  # click's values
    """Sign random bytes with the key that URI names, verify, and check the certificate (time, key usage).

    A PIN is sent to the token once, never again. Exit codes: 0 the key can sign documents; 2 the URI is malformed;
    5 the key, its PIN or its certificate is not fit; 6 a remote service did not answer; 7 signing was refused.
    """
    from vnedoc.sign.signers.diagnosis import check_signer

    state = _state(context)
    with open_asked_signer(state, {"signer_uri": uri, **secrets}) as opened:
        diagnosis = check_signer(opened)
        described = _plain_certificate(state, opened.certificate)
        mechanism = opened.mechanism.value
    code = ExitCode.CONFIGURATION if diagnosis.problems else ExitCode.DONE
    if form == "json":
        echo_document(
            SCHEMA,
            certificate=described,
            mechanism=mechanism,
            usable=not diagnosis.problems,
            problems=[_plain_finding(state, item) for item in diagnosis.problems],
            notes=[_plain_finding(state, item) for item in diagnosis.notes],
        )
        return code
    click.echo(_certificate_line(state, described))
    click.echo(state.text("token.test-signed", mechanism=mechanism))
    for item in (*diagnosis.problems, *diagnosis.notes):
        click.echo(state.text("token.shown-problem", text=item.text(state.language)))
    click.echo(state.text("token.test-failed" if diagnosis.problems else "token.test-passed"))
    return code


def _show_tokens(
    state: CLIState, tokens: list[TokenDescription], *, form: str, with_authorities: bool
) -> None:
    described = [_plain_token(state, token, with_authorities=with_authorities) for token in tokens]
    if form == "json":
        echo_document(SCHEMA, tokens=described)
        return
    for token in described:
        shown = {name: token[name] or "-" for name in ("label", "serial", "model", "manufacturer")}
        click.echo(
            state.text("token.shown-token", **shown, pin=state.text(f"token.pin-state-{token['pin']}"))
        )
        if with_authorities:
            click.echo("  " + state.text("token.shown-mechanisms", mechanisms=", ".join(token["mechanisms"])))
        for entry in token["certificates"]:
            _show_certificate(state, entry)


def _show_certificate(state: CLIState, entry: dict[str, Any]) -> None:  # as in the JSON
    click.echo("  " + _certificate_line(state, entry))
    if entry.get("uri"):
        # Quoted, because a shell would end the command at the first semicolon.
        click.echo(f'    "{entry["uri"]}"')
    for finding in () if entry["authority"] else (*entry["problems"], *entry["notes"]):
        click.echo("    " + state.text("token.shown-problem", text=finding["text"]))


def _certificate_line(state: CLIState, entry: dict[str, Any]) -> str:  # as in the JSON
    return state.text(
        "token.shown-certificate",
        subject=entry["common_name"],
        serial=entry["serial"],
        issuer=entry["issuer"],
        start=entry["not_before"][:10],
        end=entry["not_after"][:10],
    )


def _plain_token(
    state: CLIState, token: TokenDescription, *, with_authorities: bool
) -> dict[str, Any]:  # JSON
    return {
        "label": token.label,
        "serial": token.serial,
        "manufacturer": token.manufacturer,
        "model": token.model,
        "module": token.module,
        "slot_id": token.slot_id,
        "pin": token.pin,
        "mechanisms": list(token.mechanisms),
        "certificates": [
            _plain_certificate(state, entry.certificate)
            | {
                "label": entry.label,
                "id": entry.id.hex(),
                "uri": None if entry.is_authority else token.uri_for(entry),
            }
            for entry in token.certificates
            if with_authorities or not entry.is_authority
        ],
    }


def _plain_certificate(state: CLIState, certificate: x509.Certificate) -> dict[str, Any]:  # JSON
    from vnedoc._internal import clock
    from vnedoc.sign.certificates import summarize
    from vnedoc.sign.signers.diagnosis import check_certificate, is_authority

    summary = summarize(certificate)
    diagnosis = check_certificate(certificate)
    authority = is_authority(certificate)
    return {
        "common_name": summary.common_name,
        "organization": summary.organization,
        "serial": summary.serial,
        "issuer": summary.issuer,
        "not_before": clock.vietnam(certificate.not_valid_before_utc).isoformat(),
        "not_after": clock.vietnam(certificate.not_valid_after_utc).isoformat(),
        "authority": authority,
        "problems": [] if authority else [_plain_finding(state, item) for item in diagnosis.problems],
        "notes": [] if authority else [_plain_finding(state, item) for item in diagnosis.notes],
    }


def _plain_finding(state: CLIState, finding: Finding) -> dict[str, str]:
    return {"id": finding.id, "text": finding.text(state.language)}


def _state(context: click.Context) -> CLIState:
    return cast("CLIState", context.obj)
