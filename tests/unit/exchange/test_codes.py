import pytest

from vnedoc.exchange.codes import (
    DOCUMENT_KINDS,
    DocumentGroup,
    StatusCode,
    find_document_kind,
    parse_status_code,
    status_name,
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("01", StatusCode.ARRIVED),
        ("1", StatusCode.ARRIVED),
        (" 15 ", StatusCode.CHANGE_AGREED),
        ("013", StatusCode.TAKE_BACK),
    ],
)
def test_status_codes_are_read_with_and_without_zeros(text: str, code: StatusCode) -> None:
    assert parse_status_code(text) is code


@pytest.mark.parametrize("text", ["103", "999", "07", "14", "", "xong", "٣", "1" * 5000])
def test_a_private_status_code_stays_a_text(text: str) -> None:
    code = parse_status_code(text)
    assert not isinstance(code, StatusCode)
    assert code == text


def test_numbers_restart_in_each_group_and_none_is_used_twice() -> None:
    for group in DocumentGroup:
        numbers = [kind.detail for kind in DOCUMENT_KINDS if kind.group is group and kind.detail is not None]
        assert len(numbers) == len(set(numbers))
        assert 1 in numbers


@pytest.mark.parametrize(
    ("name", "group", "detail"),
    [
        ("công VĂN", DocumentGroup.ADMINISTRATIVE, 18),
        ("Giấy mời", DocumentGroup.ADMINISTRATIVE, 25),
        ("Nghị  định", DocumentGroup.LEGAL, 7),
        ("Quyết định", DocumentGroup.ADMINISTRATIVE, 2),
        ("Báo cáo", DocumentGroup.ADMINISTRATIVE, None),
        ("Cong\u0302ng", None, None),
    ],
)
def test_kinds_of_documents_are_found_by_name(
    name: str, group: DocumentGroup | None, detail: int | None
) -> None:
    kind = find_document_kind(name)
    assert (kind.group if kind else None) is group
    assert (kind.detail if kind else None) == detail


def test_a_kind_is_found_in_the_group_that_is_asked_for() -> None:
    kind = find_document_kind("Quyết định", group=DocumentGroup.LEGAL)
    assert kind is not None
    assert kind.detail == 8
    assert find_document_kind("Giấy mời", group=DocumentGroup.LEGAL) is None


def test_every_status_has_a_name_in_both_languages() -> None:
    for code in StatusCode:
        assert status_name(code, "vi") != status_name(code, "en")
    assert status_name("1", "vi") == "Trạng thái 1"
    assert "999" in status_name("999", "en")
