"""Buckets of tokens, and room that is shared in turns."""

import asyncio
import collections

import pytest

from vnedoc.exchange.hub.limits import BusyError, FairShare, Rates
from vnedoc.exchange.hub.options import Limits

SMALL = Limits(
    uploads=4, uploads_per_system=2, bytes_in_flight=1000, bytes_in_flight_per_system=400, upload_wait_s=0.2
)


def test_a_bucket_empties_and_fills():
    now = [0.0]
    rates = Rates(per_s=2, burst=3, clock=lambda: now[0])
    assert [rates.take("A") for _ in range(3)] == [0, 0, 0]
    assert rates.take("A") == pytest.approx(0.5)
    assert rates.take("B") == 0
    now[0] = 0.5
    assert rates.take("A") == 0
    assert rates.take("A") == pytest.approx(0.5)
    now[0] = 100
    assert [rates.take("A") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_what_is_refused_takes_no_token():
    now = [0.0]
    rates = Rates(per_s=1, burst=1, clock=lambda: now[0])
    assert rates.take("A") == 0
    for _ in range(50):
        rates.take("A")
    now[0] = 1.0
    assert rates.take("A") == 0


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_one_system_has_its_share_and_no_more():
    async def story():
        shares = FairShare(SMALL)
        async with shares.upload("A", 1), shares.upload("A", 1):
            with pytest.raises(BusyError):
                async with shares.upload("A", 1):
                    pass
            async with shares.upload("B", 1):
                assert shares.uploads == 3
        assert (shares.uploads, shares.bytes, shares.waiting) == (0, 0, 0)

    run(story())


def test_who_waits_is_served_in_turns():
    async def story():
        shares = FairShare(Limits(uploads=1, uploads_per_system=50, upload_wait_s=10))
        order = []

        async def upload(key):
            async with shares.upload(key, 1):
                order.append(key)
                await asyncio.sleep(0)

        async with shares.upload("A", 1):
            flood = [asyncio.create_task(upload("A")) for _ in range(20)]
            await asyncio.sleep(0)
            quiet = [asyncio.create_task(upload("B")) for _ in range(2)]
            await asyncio.sleep(0)
            assert shares.waiting == 22
        await asyncio.gather(*flood, *quiet)
        # Not behind the twenty, but in turns with them.
        assert order[:4] == ["A", "B", "A", "B"]
        assert collections.Counter(order) == {"A": 20, "B": 2}

    run(story())


def test_a_line_has_an_end_and_waiting_has_one():
    async def story():
        shares = FairShare(Limits(uploads=1, uploads_per_system=2, upload_wait_s=0.1))
        async with shares.upload("A", 1):
            outcomes = await asyncio.gather(
                *(shares.upload("A", 1).__aenter__() for _ in range(5)), return_exceptions=True
            )
        assert [type(outcome) for outcome in outcomes] == [BusyError] * 5
        assert (shares.uploads, shares.waiting) == (0, 0)

    run(story())


def test_who_hangs_up_while_waiting_leaves_no_place_behind():
    async def story():
        shares = FairShare(Limits(uploads=1, uploads_per_system=5, upload_wait_s=10))

        async def upload():
            async with shares.upload("B", 7):
                pass

        for step in range(4):
            async with shares.upload("A", 1):
                waiting = asyncio.create_task(upload())
                await asyncio.sleep(0)
                if step % 2:
                    waiting.cancel()
            # Every other one is told that it has a place, and gives up in the same moment.
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert (shares.uploads, shares.bytes, shares.waiting) == (0, 0, 0)
        await upload()

    run(story())


def test_bytes_are_counted_as_said_and_as_they_come():
    async def story():
        shares = FairShare(SMALL)
        async with shares.upload("A", 300) as first:
            with pytest.raises(BusyError):
                async with shares.upload("A", 300):
                    pass
            first.came(300)
            assert shares.bytes == 300
            async with shares.upload("A", 0) as second:
                second.came(100)
                with pytest.raises(BusyError):
                    second.came(1)
            # Alone it may be as large as it is.
            first.came(5000)
            assert shares.bytes == 5300
            with pytest.raises(BusyError):
                async with shares.upload("B", 1):
                    pass
        assert (shares.uploads, shares.bytes) == (0, 0)
        async with shares.upload("A", 100_000):
            pass

    run(story())
