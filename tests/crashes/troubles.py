"""The other rows of the matrix by their names: nobody is killed at a step, but something goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.crashes.clocks import clock_off
from tests.crashes.crowds import poison, two_workers
from tests.crashes.disks import disk_full, disk_full_sending
from tests.crashes.duplicates import duplicates
from tests.crashes.networks import cut_fetching, cut_sending, lost_answers
from tests.crashes.overtaking import recall_first, status_first, take_back_first

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crashes.places import Place

__all__ = ["TROUBLES"]

TROUBLES: dict[str, Callable[[Place], str]] = {
    "the answer is lost after the hub did it": lost_answers,
    "the connection breaks after every 64 KB sent of 1 MB": cut_sending,
    "the connection breaks after every 64 KB fetched of 1 MB": cut_fetching,
    "the disk of the sender is full": disk_full_sending,
    "the disk of the receiver is full": disk_full,
    "the clocks are one day ahead": clock_off(1),
    "the clocks are one day behind": clock_off(-1),
    "two workers on one store, one is killed": two_workers,
    "1,000 duplicates at the same time": duplicates,
    "a poison message among good ones": poison,
    "a status overtakes the receipt of its document": status_first,
    "a recall overtakes its document": recall_first,
    "a request to give back overtakes its document": take_back_first,
}
"""The rows by their names."""
