"""Ids of a hub as numbers, as clients of Bkav eDoc know documents."""

import pytest

from vnedoc.exchange.hub._bkav_numbers import digits_of, number_of


@pytest.mark.parametrize("doc_id", ["0" * 32, "f" * 32, "00000000000000a1" + "b" * 16])
def test_a_number_leads_back_to_the_beginning_of_its_id(doc_id):
    number = number_of(doc_id)
    assert 0 <= number < 2**60, "clients read it as a signed integer of 64 bits"
    assert digits_of(number) == doc_id[:15]


@pytest.mark.parametrize("number", [-1, 2**60, 2**63, 10**19])
def test_a_number_that_no_id_is_shown_as(number):
    assert digits_of(number) is None
