"""Rows in which the hub is killed: in the middle of its work, and between what it did and what it says of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tests.crashes.jobs import Job
from tests.crashes.rows import Found, how_it_ended, prepare, unexpected, what_is_left
from tests.crashes.steps import Story
from tests.crashes.traps import DATABASE_COMMIT, RENAME, Trap
from tests.hubs import audit_problems
from vnedoc.exchange.codes import PackageKind

if TYPE_CHECKING:
    from tests.crashes.places import Place
    from tests.crashes.world import World

__all__ = ["HUB_STEPS", "HubStep", "run_hub_step"]

_LARGE_BYTES = 3_000_000
_TAKE = "vnedoc.exchange.stores.hub:HubStore.take"
_MOVE = "vnedoc.exchange.stores.hub_deliveries:HubDeliveries.move"
_NAME = "vnedoc.exchange.stores.payloads:FolderPayloads._name"
# What the hub does with each piece of a body that comes, and for each piece of a package that goes.
_PIECE_CAME = "vnedoc.exchange.hub.core:Hub.note_bytes"
_PIECE_GOES = "starlette.concurrency:_next"


@dataclasses.dataclass(frozen=True)
class HubStep:
    """A step at which the hub is killed."""

    story: Story
    """What is going on."""
    name: str
    """Its name."""
    trap: Trap
    """Where that is."""
    size: int = 200_000
    """The size of the attachment in bytes."""

    @property
    def title(self) -> str:
        """The story and the name."""
        return f"{self.story.value}; the hub is killed: {self.name}"


HUB_STEPS: tuple[HubStep, ...] = (
    HubStep(Story.SENDING, "a part of 4 MB came", Trap(_PIECE_CAME, "after", 6), _LARGE_BYTES),
    HubStep(Story.SENDING, "payload on the disk, before the rename", Trap(RENAME, "before", 1, _NAME)),
    HubStep(Story.SENDING, "payload safe, before the commit", Trap(DATABASE_COMMIT, "before", 1, _TAKE)),
    HubStep(Story.SENDING, "committed, not answered", Trap(_TAKE, "after")),
    HubStep(
        Story.RECEIVING, "before the list", Trap("vnedoc.exchange.stores.hub:HubStore.waiting", "before")
    ),
    HubStep(Story.RECEIVING, "a part of 4 MB fetched", Trap(_PIECE_GOES, "before", 10), _LARGE_BYTES),
    HubStep(Story.RECEIVING, "acknowledged, before the commit", Trap(DATABASE_COMMIT, "before", 1, _MOVE)),
    HubStep(Story.RECEIVING, "acknowledgement committed, not answered", Trap(_MOVE, "after")),
    HubStep(Story.ANSWERING, "committed, not answered", Trap(_TAKE, "after")),
    HubStep(Story.RECALLING, "committed, not answered", Trap(_TAKE, "after")),
)
"""The steps at which the hub is killed."""


def run_hub_step(step: HubStep, place: Place) -> Found:
    """Kill the hub at a step, start it again, let the offices go on, and return what was found."""
    process = place.hub_process
    process.start()
    with place.world(process.hub) as world:
        actions = prepare(step.story, world, size=step.size)
        process.arm(step.trap)
        office = world.a if step.story.office == "A" else world.b
        [worked] = place.zygote.run(Job(office.account, actions))
        problems = [] if worked.how == "exit 0" else [f"the office: {worked.how} {worked.said}"]
        if not process.was_killed():
            return Found("-", "-", ("the step was not reached", *problems))
        problems += world.problems_now()
        left = f"{_on_the_hub(step.story, world)}; office: {what_is_left(step.story, world)}"
        process.start()
        world.outlast_leases()
        world.settle()
        problems += world.problems()
        problems += unexpected(step.story, world)
        problems += _left_behind(world)
        problems += audit_problems(world.hub.store)
        return Found(left, how_it_ended(step.story, world), tuple(problems))


def _on_the_hub(story: Story, world: World) -> str:
    """Return in words what the killed hub knows of what it was doing."""
    sender = world.b if story is Story.ANSWERING else world.a
    kind = PackageKind.STATUS if story is Story.ANSWERING else PackageKind.DOCUMENT
    rows = world.hub.store.sent(f"TEST.{sender.code}", kind)
    if story is Story.RECEIVING:
        return f"hub: {rows[0].status.value}"
    return "hub: taken" if len(rows) > (1 if story is Story.RECALLING else 0) else "hub: nothing"


def _left_behind(world: World) -> list[str]:
    """Return what the killed hub left half written and can never get rid of."""
    world.hub.store.payloads.sweep(older_than_s=0)
    incoming = world.hub.folder / "payloads/incoming"
    return [f"the hub: {path.name} stays for ever" for path in incoming.glob("*")]
