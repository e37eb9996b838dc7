"""What a system brings is taken over as long as it gets in, whichever way."""

import pytest

from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.entrances import Entrance
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.stores.hub import AccessChangedError


def taker(good):
    tried = []

    def take(stamp):
        tried.append(stamp)
        if stamp != good:
            raise AccessChangedError
        return "receipt"

    return take, tried


def test_nobody_is_asked_while_the_stamp_holds():
    take, tried = taker("a")
    entrance = Entrance("a", lambda: pytest.fail("asked"))
    assert entrance.bring(take) == "receipt"
    assert tried == ["a"]


def test_who_gets_in_another_way_is_taken_by_that():
    take, tried = taker("b")
    assert Entrance("a", lambda: "b").bring(take) == "receipt"
    assert tried == ["a", "b"]


def test_who_gets_in_no_more_is_refused_as_he_is():
    take, tried = taker("b")

    def again():
        raise RefusalError(ErrorCode.UNAUTHENTICATED, "hub.wrong-signature", status=401)

    with pytest.raises(RefusalError) as caught:
        Entrance("a", again).bring(take)
    assert caught.value.status == 401
    assert tried == ["a"]


def test_what_changes_again_and_again_is_to_come_later():
    take, tried = taker("never")
    with pytest.raises(RefusalError) as caught:
        Entrance("a", lambda: "b").bring(take)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    assert tried == ["a", "b", "b"]
