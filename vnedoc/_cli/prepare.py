"""``vnedoc prepare`` and ``vnedoc complete``: sign in two steps, with a key that is elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._formats import echo_document, format_option
from vnedoc._cli._outputs import file_option
from vnedoc._cli._verification import means, verification_options
from vnedoc._cli.signing_options import open_options, open_timestamps, role_options, timestamp_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc._cli.main import CLIState

__all__ = ["complete", "prepare"]

MAX_CERTIFICATE_BYTES = 1024 * 1024
MAX_SIGNATURE_BYTES = 64 * 1024
_LONG_TERM = ("b-lt", "b-lta")


@click.command(short_help="Prepare a PDF to be signed elsewhere.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@file_option(
    "--certificate",
    required=True,
    metavar="PEM",
    help="The signing certificate; those above it may follow in the same file.",
)
@role_options
@timestamp_options
@file_option("--state", "state_path", required=True, help="State file.")
@file_option(
    "--content",
    "content_path",
    help="Write also the bytes that the digest is of, for a key that hashes by itself.",
)
@click.pass_obj
def prepare(state: CLIState, /, file: Path, **given: Any) -> int:  # the options, as click names them
    """Do everything but sign, and print the digest that is to be signed elsewhere (hexadecimal).

    \b
      vnedoc prepare draft.pdf --certificate leader.pem --role approve --level b-t \
             --image signature.png --anchor "NGUYỄN VĂN A" --state draft.state

    The state file holds no secret. Give it to `vnedoc complete` with the signature, together with the very
    file that was prepared. For b-lt and b-lta the long-term data is gathered now (--trust, --tsa): complete soon.

    \b
    Exit codes: 0 prepared · 1 the document or the Decree does not allow it · 2 wrong usage ·
    4 not a PDF, broken or encrypted · 5 the certificate may not sign · 6 long-term data is missing, try again.
    """
    from vnedoc._internal import files
    from vnedoc.errors import UsageError
    from vnedoc.sign.external import prepare_pdf, save_prepared
    from vnedoc.sign.models import SignatureMechanism

    certificate, *chain = _certificates(given["certificate"])
    state_path, content_path = given["state_path"], given["content_path"]
    if file.resolve() in {path.resolve() for path in (state_path, content_path) if path is not None}:
        raise UsageError("signing.would-overwrite", path=file)
    # Below B-LT the authorities are asked when the signature is there.
    with open_options(state, given, stamping=given["level"] in _LONG_TERM) as options:
        prepared = prepare_pdf(
            file,
            certificate=certificate,
            chain=chain,
            options=options,
            mechanism=SignatureMechanism(given["mechanism"]) if given["mechanism"] else None,
        )
    if content_path is not None:
        files.write_bytes(content_path, prepared.attributes)
    save_prepared(prepared, state_path)
    click.echo(
        state.text(
            "external.prepared",
            source=file,
            state=state_path,
            algorithm=prepared.digest_algorithm,
            mechanism=prepared.mechanism.value,
        ),
        err=True,
    )
    for warning in prepared.warnings:
        click.echo(warning.text(state.language), err=True)
    click.echo(prepared.digest.hex())
    return 0


@click.command(short_help="Put a signature made elsewhere into a prepared PDF.")
@file_option("--state", "state_path", required=True, help="State file.")
@file_option("--signature", required=True, help="The signature value: raw, hexadecimal or base64.")
@file_option("--source", help="The file that was prepared, if it is not where it was.")
@timestamp_options
@verification_options
@click.option(
    "--document-password-env",
    metavar="NAME",
    help="Environment variable with the password of an encrypted PDF.",
)
@file_option("-o", "--output", required=True, help="Signed file.")
@format_option
@click.pass_obj
def complete(state: CLIState, /, **given: Any) -> int:  # the options, as click names them
    """Check a signature that was made elsewhere, and write the signed PDF.

    \b
      vnedoc complete --state draft.state --signature value.bin -o signed.pdf

    Nothing is written unless the document is the one that was prepared, the state is unchanged, and the
    signature verifies with the public key of the certificate; at b-lt and b-lta also that the completed document
    verifies from itself alone (--trust, --tsa).

    \b
    Exit codes: 0 signed · 1 the document, the state or the signature is not the right one · 2 wrong usage ·
    3 the level is not reached: the long-term data is too old · 4 a file cannot be read ·
    5 the certificate is not valid any more · 6 no time-stamp or no revocation data, try again.
    """
    from vnedoc._cli.secrets import read_secret
    from vnedoc._internal import files
    from vnedoc.sign.external import LongTermMeans, complete_pdf, load_prepared
    from vnedoc.sign.models import SignatureLevel
    from vnedoc.sign.presign import LONG_TERM_LEVELS

    prepared = load_prepared(given["state_path"])
    signature = files.read_bytes(given["signature"], max_bytes=MAX_SIGNATURE_BYTES)
    password: Callable[[str], str] | None = None
    if given["document_password_env"] is not None:
        secret = read_secret("", env=given["document_password_env"], fd=None)
        password = lambda _document: secret  # noqa: E731 - a callback is what is wanted
    source = given["source"] or _source_of(given["state_path"], prepared.source)
    with contextlib.ExitStack() as stack:
        timestamps = None
        if prepared.level is not SignatureLevel.B_B:
            timestamps = stack.enter_context(open_timestamps(state, given))
        long_term = None
        if prepared.level in LONG_TERM_LEVELS:
            verifying = stack.enter_context(means(state, given))
            if verifying.trust is not None:
                long_term = LongTermMeans(verifying.trust, verifying.revocation)
        result = complete_pdf(
            prepared,
            signature,
            given["output"],
            source=source,
            timestamps=timestamps,
            long_term=long_term,
            password=password,
        )
    if given["form"] == "json":
        from vnedoc._cli.sign import SCHEMA, plain_result

        echo_document(SCHEMA, files=[plain_result(source, result, language=state.language)])
    else:
        from vnedoc._cli.sign import done_sentence

        click.echo(done_sentence(state, source, result))
    return 0


def _certificates(path: Path) -> list[Any]:  # certificates; the library is loaded when the command runs
    from cryptography import x509

    from vnedoc._internal import files
    from vnedoc.errors import InputError

    content = files.read_bytes(path, max_bytes=MAX_CERTIFICATE_BYTES)
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError as exc:
        raise InputError("external.not-a-certificate", path=path) from exc


def _source_of(state_path: Path, recorded: Path) -> Path:
    """Return where the source is: where it was, or beside the state file on another machine."""
    beside = state_path.parent / recorded.name
    return beside if not recorded.is_file() and beside.is_file() else recorded
