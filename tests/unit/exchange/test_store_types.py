import pytest
import sqlalchemy as sa

from vnedoc.exchange.stores._search import folded
from vnedoc.exchange.stores._types import Name, PlainText, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Số 12/QĐ-UBND", "Số 12/QĐ-UBND"),
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d", "half \ufffd"),
        ("whole \ud83d\ude00", "whole 😀"),
        ("", ""),
    ],
)
def test_what_is_no_text_is_replaced(text, expected):
    assert plain(text) == expected
    plain(text).encode()


def test_columns_know_their_length():
    assert Name(64).length == 64
    assert str(sa.Column("x", Name(64)).type.compile()) == "VARCHAR(64)"
    assert PlainText(3).process_bind_param("abcdef", None) == "abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Quyết định", "quyet dinh"),
        ("ĐẤT ĐAI", "dat dai"),
        ("  Ủy   ban\nnhân dân ", "uy ban nhan dan"),
        ("Quyê\u0301t", "quyet"),
        ("12/QĐ-UBND", "12/qd-ubnd"),
    ],
)
def test_text_is_folded_as_people_type_it(text, expected):
    assert folded(text) == expected


def test_folding_is_bounded():
    assert len(folded("ộ" * 100_000)) <= 1000
