"""PKCS#11 URIs: what they name, what is refused, and that no value is ever repeated in an error."""

import unicodedata

import pytest

from vnedoc.errors import ExitCode, UsageError
from vnedoc.sign.signers._pkcs11_uri import MAX_URI_CHARACTERS, PKCS11URI


def test_all_attributes_are_read() -> None:
    uri = PKCS11URI.parse(
        "pkcs11:token=VGCA%20Token;manufacturer=Bit4id;serial=12%2F34;model=JS2048;slot-id=7;"
        "slot-description=Reader;slot-manufacturer=ACS;library-manufacturer=L;library-description=D;library-version=1.2;"
        "object=Kh%C3%B3a;type=private;id=%01%FFab;x-cert-serial=5A:01"
        "?module-path=/usr/lib/libbit4xpki.so&module-name=bit4id"
    )
    assert uri == PKCS11URI(
        token="VGCA Token", manufacturer="Bit4id", serial="12/34", model="JS2048", slot_id=7,
        slot_description="Reader",
        slot_manufacturer="ACS", library_manufacturer="L", library_description="D", library_version="1.2",
        object="Khóa", type="private", id=b"\x01\xffab", cert_serial=0x5A01, module_path="/usr/lib/libbit4xpki.so",
        module_name="bit4id",
    )  # fmt: skip


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=%E1%BB%A6y%20ban%20TEST;serial=00%3B1",
        "pkcs11:object=a%26b%3Dc%25;type=cert;id=%00%3B%26?module-path=/opt/a%20b/m.so",
        "pkcs11:x-cert-serial=a1?module-name=softhsm",
        "pkcs11:slot-id=0",
    ],
)
def test_what_is_written_reads_back_the_same(uri: str) -> None:
    parsed = PKCS11URI.parse(uri)
    assert PKCS11URI.parse(parsed.as_text()) == parsed


def test_a_written_uri_is_safe_in_double_quotes() -> None:
    hostile = "a`b$c\"d'e\\f!g;h?i&j|k<l>mn%o^p"
    written = PKCS11URI(token=hostile, object=hostile, id=hostile.encode(), serial=hostile).as_text()
    assert PKCS11URI.parse(written).object == hostile
    assert not set(written) & set("`$\"'\\! &|<>\n^")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["token", "object", "manufacturer", "model"])
def test_vietnamese_letters_are_the_same_composed_and_decomposed(form: str, name: str) -> None:
    label = unicodedata.normalize(form, "Ủy ban nhân dân tỉnh TEST Đặng")
    for written in (label, PKCS11URI(**{name: label}).as_text().partition("=")[2]):
        uri = PKCS11URI.parse(f"pkcs11:{name}={written}")
        assert getattr(uri, name) == unicodedata.normalize("NFC", label)


@pytest.mark.parametrize(
    ("written", "serial"), [("5a01", 0x5A01), ("0x5A01", 0x5A01), ("5A:01", 0x5A01), ("00 5a 01", 0x5A01)]
)
def test_the_serial_of_a_certificate_as_people_copy_it(written: str, serial: int) -> None:
    assert PKCS11URI.parse(f"pkcs11:x-cert-serial={written}").cert_serial == serial


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("pkcs12:a", "token.uri-malformed"),
        ("token=x", "token.uri-malformed"),
        ("pkcs11:token", "token.uri-malformed"),
        ("pkcs11:=x", "token.uri-malformed"),
        ("pkcs11:token=a;;id=%01", "token.uri-malformed"),
        ("pkcs11:tok en=x", "token.uri-malformed"),
        ("pkcs11:token=" + "x" * MAX_URI_CHARACTERS, "token.uri-malformed"),
        ("pkcs11:tokn=x", "token.uri-unknown-attribute"),
        ("pkcs11:x-other=x", "token.uri-unknown-attribute"),
        ("pkcs11:module-path=/x", "token.uri-unknown-attribute"),
        ("pkcs11:?token=x", "token.uri-unknown-attribute"),
        ("pkcs11:token=a;token=b", "token.uri-repeated"),
        ("pkcs11:?module-path=a&module-path=b", "token.uri-repeated"),
        ("pkcs11:token=%zz", "token.uri-bad-value"),
        ("pkcs11:token=%4", "token.uri-bad-value"),
        ("pkcs11:token=%ff", "token.uri-bad-value"),
        ("pkcs11:type=secret-key", "token.uri-bad-value"),
        ("pkcs11:slot-id=-1", "token.uri-bad-value"),
        ("pkcs11:slot-id=x", "token.uri-bad-value"),
        ("pkcs11:x-cert-serial=xyz", "token.uri-bad-value"),
        ("pkcs11:x-cert-serial=" + "1" * 41, "token.uri-bad-value"),
    ],
)
def test_what_is_wrong_is_named(uri: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        PKCS11URI.parse(uri)
    assert caught.value.code == code
    assert caught.value.exit_code is ExitCode.USAGE
    for language in ("vi", "en"):
        assert caught.value.text(language)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a?pin-value=pin-TEST-1234",
        "pkcs11:token=a?pin-source=pin-TEST-1234",
        "pkcs11:token=a;pin-value=pin-TEST-1234",
        "pkcs11:?PIN-VALUE=pin-TEST-1234",
        "pkcs11:tokn=a?pin-value=pin-TEST-1234",
        "pkcs11:pin-value=pin-TEST-1234",
    ],
)
def test_a_pin_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        PKCS11URI.parse(uri)
    assert caught.value.code == "token.uri-pin"
    told = f"{caught.value!r} {caught.value.text('vi')} {caught.value.hint('vi')} {caught.value.text('en')}"
    assert "pin-TEST-1234" not in told


def test_control_characters_are_dropped_from_labels() -> None:
    assert PKCS11URI.parse("pkcs11:token=a%1B[31mb%00%0A").token == "a[31mb"


def test_unknown_query_attributes_change_nothing() -> None:
    assert PKCS11URI.parse("pkcs11:token=a?x-vendor=1&x-vendor=2") == PKCS11URI(token="a")
