"""PDF/A and PDF/UA before and after signing, as veraPDF sees them: no act breaks a rule that was kept before."""

import io
from pathlib import Path

import pikepdf
import pytest

from tests import signed_pdfs
from tests.integration.test_document_kinds import all_roles, sign
from tests.office_exports import export_pdf
from tests.verapdf import VeraPDF
from vnedoc.sign.appearance import Picture
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.testing.pki import TestPKI

pytestmark = [pytest.mark.needs("soffice"), pytest.mark.needs("java"), pytest.mark.needs("mvn")]


@pytest.fixture(scope="module")
def verapdf() -> VeraPDF:
    return VeraPDF.fetched()


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The decision as PDF/A of several parts and levels, and as PDF/UA."""
    folder = tmp_path_factory.mktemp("exports")
    made = {str(part): export_pdf(folder, part=part) for part in (1, 2, 3)}
    made["2 level A"] = _level_a(made["2"])
    made["UA"] = export_pdf(folder, accessible=True)
    return made


def _level_a(content: bytes) -> bytes:
    """Claim level A: the export to part 2 keeps its rules, but says level B."""
    output = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        said = pdf.Root.Metadata.read_bytes()
        claim = said.replace(b"<pdfaid:conformance>B<", b"<pdfaid:conformance>A<")
        assert claim != said
        pdf.Root.Metadata = pdf.make_stream(claim, Type=pikepdf.Name.Metadata, Subtype=pikepdf.Name.XML)
        pdf.save(output)
    return output.getvalue()


@pytest.mark.parametrize(
    ("kind", "flavour"), [("1", "1a"), ("2", "2b"), ("3", "3b"), ("2 level A", "2a"), ("UA", "ua1")]
)
def test_no_role_breaks_a_rule(
    verapdf: VeraPDF,
    exports: dict[str, bytes],
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    signature_picture: Picture,
    seal_picture: Picture,
    tmp_path: Path,
    kind: str,
    flavour: str,
) -> None:
    made = {"unsigned": exports[kind]}
    content = exports[kind]
    for number, options in enumerate(all_roles(signature_picture, seal_picture)):
        content = sign(content, clerk if options.role is Role.ISSUE else leader, options)
        made[f"{number} {options.role.value}"] = content
    if kind not in {"1", "UA"}:
        # Where the last document is in order the others are, too; the strictest kinds are looked at step by step.
        made = dict(list(made.items())[:2] + list(made.items())[-1:])
    made["only invisible"] = sign(exports[kind], leader, SigningOptions(role=Role.INVISIBLE))
    found = verapdf.broken_rules(made, tmp_path, flavour=flavour)
    before = found.pop("unsigned")
    assert before[0] == flavour
    if kind != "UA":
        assert before[1] == frozenset()
    # LibreOffice 7.4 leaves two rules of PDF/UA open in this document; none comes with a signature.
    assert {name: rules - before[1] for name, (_, rules) in found.items()} == dict.fromkeys(
        found, frozenset()
    )


@pytest.mark.parametrize("kind", ["1", "2"])
def test_long_term_data_and_time_stamps_break_none(
    verapdf: VeraPDF,
    exports: dict[str, bytes],
    pki: TestPKI,
    leader: PKCS12Signer,
    signature_picture: Picture,
    seal_picture: Picture,
    tmp_path: Path,
    kind: str,
) -> None:
    (approve, *_) = all_roles(signature_picture, seal_picture)
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        options = SigningOptions(
            role=approve.role,
            picture=approve.picture,
            placement=approve.placement,
            level=SignatureLevel.B_LTA,
            timestamps=client,
            trust=TrustStore.from_certificates(pki.ca_certificates),
            revocation=source,
        )
        content = sign(exports[kind], leader, options)
    ((_, rules),) = verapdf.broken_rules({"B-LTA": content}, tmp_path).values()
    assert rules == frozenset()


def test_it_sees_what_a_careless_tool_breaks(
    verapdf: VeraPDF, exports: dict[str, bytes], pki: TestPKI, tmp_path: Path
) -> None:
    """The same acts by a tool that does not look at what the document is."""
    signed = {
        "shown": signed_pdfs.sign(exports["UA"], pki.leader),
        "unsigned": exports["UA"],
    }
    found = verapdf.broken_rules(signed, tmp_path, flavour="ua1")
    assert {"7.18.3-1", "7.18.4-1"} <= found["shown"][1] - found["unsigned"][1]
    hidden = {"hidden": signed_pdfs.sign(exports["1"], pki.leader, box=None)}
    ((_, rules),) = verapdf.broken_rules(hidden, tmp_path).values()
    assert "6.9-2" in rules
