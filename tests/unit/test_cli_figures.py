"""Numbers on a terminal are written as the language of the words around them writes them."""

import pytest

from vnedoc._cli._figures import number_text, size_text


@pytest.mark.parametrize(
    ("number", "vi", "en"), [(0, "0", "0"), (999, "999", "999"), (1_280_856, "1.280.856", "1,280,856")]
)
def test_thousands_are_apart(number: int, vi: str, en: str) -> None:
    assert (number_text(number, "vi"), number_text(number, "en")) == (vi, en)


@pytest.mark.parametrize(
    ("size", "vi", "en"),
    [
        (0, "0 B", "0 B"),
        (1023, "1023 B", "1023 B"),
        (1024, "1,0 KiB", "1.0 KiB"),
        (140_390, "137,1 KiB", "137.1 KiB"),
        (5 * 1024**3, "5,0 GiB", "5.0 GiB"),
        (3000 * 1024**4, "3000,0 TiB", "3000.0 TiB"),
    ],
)
def test_a_size_is_short(size: int, vi: str, en: str) -> None:
    assert (size_text(size, "vi"), size_text(size, "en")) == (vi, en)
