"""Certification paths made to be judged wrongly: what the suite x509-limbo tests and PKITS leaves out, made here.

x509-limbo itself is in no package registry (its ``limbo.json`` lives in its repository only), and most of it is about
web servers. The cases are made anew with keys of this run, judged by what ``verify`` uses.
"""

import datetime
import functools
import ipaddress
import time
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from vnedoc.sign.chains import CertificateVerdict, judge_certificate
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree

AT = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
START, END = AT - datetime.timedelta(days=400), AT + datetime.timedelta(days=400)
POLICY = Policy(revocation=RevocationRule.IGNORE)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def named(common_name: str, **more: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, more.get("country", "VN")),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, more.get("organization", "TEST")),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def usage(*, sign: bool = True, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign, content_commitment=sign, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=certificates, crl_sign=certificates, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def make(
    name: str,
    issuer: str,
    *more: tuple[x509.ExtensionType, bool],
    ca: bool | None = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = None,
    key_of: str | None = None,
    signed_by: str | None = None,
    subject: x509.Name | None = None,
    start: datetime.datetime = START,
    end: datetime.datetime = END,
    public_key=None,
    digest: hashes.HashAlgorithm | None = None,
    own_reference: bytes | None = None,
) -> x509.Certificate:
    """Return a certificate that is right but for what is asked."""
    authority = key(signed_by or issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject if subject is not None else named(name))
        .issuer_name(named(issuer))
        .public_key(public_key or key(key_of or name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    builder = builder.add_extension(key_usage or usage(sign=not ca, certificates=bool(ca)), critical=True)
    if own_reference is not None:
        reference = x509.AuthorityKeyIdentifier(own_reference, None, None)
        builder = builder.add_extension(reference, critical=False)
    for value, critical in more:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(authority, digest or hashes.SHA256())


def root(*more: tuple[x509.ExtensionType, bool], **changes) -> x509.Certificate:
    return make("root", "root", *more, **{"ca": True, **changes})


def judged(
    leaf: x509.Certificate, between: Sequence[x509.Certificate] = (), anchor: x509.Certificate | None = None
) -> CertificateVerdict:
    store = TrustStore((TrustAnchor(anchor or root(), TrustTree.CUSTOM),))
    return judge_certificate(leaf, trust=store, others=between, policy=POLICY, at=AT)


def constraints(
    permitted: Sequence[x509.GeneralName] | None = None, excluded: Sequence[x509.GeneralName] | None = None
) -> tuple[x509.ExtensionType, bool]:
    return x509.NameConstraints(permitted, excluded), True


def alternative(*names: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(names), False


AGENCY = x509.DirectoryName(named("x").__class__(list(named("x"))[:2]))
OTHERS = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ")]))

GOOD = {
    "plain": lambda: (make("leaf", "ca"), [make("ca", "root", ca=True)], None),
    "anchor alone": lambda: (make("leaf", "root"), [], None),
    "path length that is kept": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, path_length=0)],
        root(path_length=1),
    ),
    "a reference to the right key": lambda: (
        make(
            "leaf",
            "ca",
            own_reference=x509.SubjectKeyIdentifier.from_public_key(key("ca").public_key()).digest,
        ),
        [
            make(
                "ca",
                "root",
                (x509.SubjectKeyIdentifier.from_public_key(key("ca").public_key()), False),
                ca=True,
            )
        ],
        None,
    ),
    "a reference to another key, but signed with this one": lambda: (
        # RFC 5280, 4.2.1.1: it helps to find the issuer; the signature decides.
        make("leaf", "ca", own_reference=b"another key" * 2),
        [
            make(
                "ca",
                "root",
                (x509.SubjectKeyIdentifier.from_public_key(key("ca").public_key()), False),
                ca=True,
            )
        ],
        None,
    ),
    "unknown extension, not critical": lambda: (
        make("leaf", "ca", (UNKNOWN, False)),
        [make("ca", "root", (UNKNOWN, False), ca=True)],
        None,
    ),
    "names within the constraints": lambda: (
        make("leaf", "ca", alternative(x509.RFC822Name("a@co-quan.gov.vn"))),
        [make("ca", "root", constraints([AGENCY, x509.RFC822Name("co-quan.gov.vn")]), ca=True)],
        None,
    ),
    "an expired anchor": lambda: (
        # RFC 5280, 6.1.1 d: of an anchor only name and key count; whoever trusts it says so.
        make("leaf", "ca"),
        [make("ca", "root", ca=True)],
        root(end=AT - datetime.timedelta(days=1)),
    ),
    "an old certificate of the same authority beside the good one": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, end=AT - datetime.timedelta(days=1)), make("ca", "root", ca=True)],
        None,
    ),
    "a false authority of the same name beside the good one": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, key_of="imposter"), make("ca", "root", ca=True)],
        None,
    ),
}

BAD = {
    "issuer without basic constraints": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=None, key_usage=usage(certificates=True))],
        None,
    ),
    "issuer that is no authority": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=False, key_usage=usage(certificates=True))],
        None,
    ),
    "issuer that is a signer": lambda: (make("leaf", "clerk"), [make("clerk", "root")], None),
    "issuer that may not sign certificates": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, key_usage=usage())],
        None,
    ),
    "path length zero": lambda: (
        make("leaf", "sub"),
        [make("sub", "ca", ca=True), make("ca", "root", ca=True, path_length=0)],
        None,
    ),
    "path length of the anchor": lambda: (
        make("leaf", "sub"),
        [make("sub", "ca", ca=True), make("ca", "root", ca=True)],
        root(path_length=0),
    ),
    "unknown critical extension of the signer": lambda: (make("leaf", "root", (UNKNOWN, True)), [], None),
    "unknown critical extension of an authority": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", (UNKNOWN, True), ca=True)],
        None,
    ),
    "name outside of the permitted": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", constraints([OTHERS]), ca=True)],
        None,
    ),
    "name among the excluded": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", constraints(excluded=[AGENCY]), ca=True)],
        None,
    ),
    "constraints of the anchor": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True)],
        root(constraints(excluded=[AGENCY])),
    ),
    "mail address outside of the permitted": lambda: (
        make("leaf", "ca", alternative(x509.RFC822Name("a@example.test"))),
        [make("ca", "root", constraints([x509.RFC822Name("co-quan.gov.vn")]), ca=True)],
        None,
    ),
    "mail address excluded, in other case": lambda: (
        make("leaf", "ca", alternative(x509.RFC822Name("a@CO-QUAN.gov.vn"))),
        [make("ca", "root", constraints(excluded=[x509.RFC822Name("co-quan.gov.vn")]), ca=True)],
        None,
    ),
    "host name excluded, with its last dot": lambda: (
        make("leaf", "ca", alternative(x509.DNSName("a.co-quan.gov.vn."))),
        [make("ca", "root", constraints(excluded=[x509.DNSName("co-quan.gov.vn")]), ca=True)],
        None,
    ),
    "address excluded": lambda: (
        make("leaf", "ca", alternative(x509.IPAddress(ipaddress.ip_address("192.0.2.1")))),
        [
            make(
                "ca",
                "root",
                constraints(excluded=[x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))]),
                ca=True,
            )
        ],
        None,
    ),
    "expired authority": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, end=AT - datetime.timedelta(days=1))],
        None,
    ),
    "authority of tomorrow": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, start=AT + datetime.timedelta(days=1))],
        None,
    ),
    "signed by another key than the named issuer's": lambda: (
        make("leaf", "ca", signed_by="imposter"),
        [make("ca", "root", ca=True)],
        None,
    ),
    "the anchor's name with another key": lambda: (
        make("leaf", "root", signed_by="imposter"),
        [root(key_of="imposter", signed_by="imposter")],
        None,
    ),
    "self-signed": lambda: (make("leaf", "leaf"), [], None),
    "the leaf as its own anchor's namesake": lambda: (
        make("root", "root", key_of="x", signed_by="x"),
        [],
        None,
    ),
    "weak key of an authority": lambda: (
        make("leaf", "ca"),
        [make("ca", "root", ca=True, public_key=rsa.generate_private_key(65537, 1024).public_key())],
        None,
    ),
    "small curve": lambda: (
        make("leaf", "root", public_key=ec.generate_private_key(ec.SECP224R1()).public_key()),
        [],
        None,
    ),
    "no key usage for documents": lambda: (
        make("leaf", "root", key_usage=usage(sign=False, certificates=True)),
        [],
        None,
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_sound_path_is_found(name: str) -> None:
    verdict = judged(*GOOD[name]())
    assert verdict.conclusion is Conclusion.TOTAL_PASSED, verdict


@pytest.mark.parametrize("name", BAD)
def test_a_trap_is_noticed(name: str) -> None:
    verdict = judged(*BAD[name]())
    assert verdict.conclusion is Conclusion.INDETERMINATE
    assert verdict.sub_indication not in {None, "TRY_LATER"}


def test_the_extended_key_usage_of_an_authority_limits_nothing() -> None:
    """RFC 5280, 4.2.1.12, gives it no meaning for those below; web browsers do. Government certificates have none."""
    web = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    verdict = judged(make("leaf", "ca"), [make("ca", "root", web, ca=True)])
    assert verdict.conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.parametrize("shape", ["ring", "namesakes", "long", "wide"])
def test_pathological_paths_end(shape: str) -> None:
    between: list[x509.Certificate] = []
    leaf = make("leaf", "c0")
    if shape == "ring":
        between = [make(f"c{i}", f"c{j}", ca=True) for i in range(6) for j in range(6) if i != j]
        between.append(make("c5", "root", ca=True))
    elif shape == "namesakes":
        between = [make("c0", "root", ca=True, key_of=f"k{i}") for i in range(90)] + [
            make("c0", "root", ca=True)
        ]
    elif shape == "long":
        between = [make(f"c{i}", f"c{i + 1}", ca=True) for i in range(40)] + [make("c40", "root", ca=True)]
    else:
        between = [make("c0", f"c{i}", ca=True) for i in range(1, 40)]
        between += [make(f"c{i}", "root", ca=True) for i in range(1, 40)]
    began = time.perf_counter()
    verdict = judged(leaf, between)
    assert time.perf_counter() - began < 10
    # A path of more than eight certificates is not followed.
    expected = Conclusion.INDETERMINATE if shape == "long" else Conclusion.TOTAL_PASSED
    assert verdict.conclusion is expected


def test_every_certificate_of_a_mesh_without_an_anchor_is_refused() -> None:
    between = [make(f"c{i}", f"c{j}", ca=True) for i in range(8) for j in range(8)]
    verdict = judged(make("leaf", "c0"), between)
    assert verdict.sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"
