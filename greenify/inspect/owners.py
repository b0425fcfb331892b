"""Who holds what others wait for, and who waits in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from greenify.inspect.holders import holdings
from greenify.inspect.record import Wait
from greenify.inspect.waits_on_others import LOCKS

if TYPE_CHECKING:
    from greenify.inspect.snapshot import Row

__all__ = ["cycles", "add_holders"]


# The facts that name another row.
_OF_OTHERS = frozenset({"owner_greenlet", "thread_greenlet", "owner_ident", "ident"})


def _lock(wait: Wait | None) -> Any:
    return wait.on if wait is not None and wait.kind in LOCKS else None


def add_holders(
    rows: list[Row], frames: list[FrameType | None], greenlets: list[greenlet | None]
) -> None:
    """Complete the rows by the holders of the plain locks that they wait for."""
    wanted = {
        id(row.wait.on)
        for row in rows
        if row.wait is not None and row.wait.kind == "Lock" and "owner" not in row.wait.facts
    }
    if not wanted:
        return
    # By lock: what completes the waits for it.
    held: dict[int, tuple[str, dict[str, Any]]] = {}
    for number, frame in enumerate(frames):
        for lock, place in holdings(frame):
            if id(lock) in wanted:
                owner = rows[number]
                held[id(lock)] = (
                    f", held by {owner.name} ({place.short})",
                    {
                        "owner": owner.name,
                        "owner_greenlet": greenlets[number],
                        "owner_ident": owner.ident,
                        "taken_at": str(place),
                    },
                )
    if held:
        for row in rows:
            wait = row.wait
            if wait is not None and wait.kind == "Lock":
                found = held.get(id(wait.on))
                if found is not None:
                    wait.text += found[0]
                    wait.facts = found[1]


def cycles(rows: list[Row], greenlets: list[greenlet | None]) -> Iterator[tuple[Row, ...]]:
    """The circles of those who wait for a lock that the next one holds, or for the next one's end."""
    # A wait that ends by itself is no dead lock, and neither is a circle without any lock.
    bound = [
        number
        for number, row in enumerate(rows)
        if row.wait is not None
        and row.wait.until is None
        and not _OF_OTHERS.isdisjoint(row.wait.facts)
    ]
    if not any(_lock(rows[number].wait) is not None for number in bound):
        return
    by_greenlet = {id(g): number for number, g in enumerate(greenlets) if g is not None}
    by_ident = {row.ident: number for number, row in enumerate(rows)}
    after: dict[int, int] = {}
    targets: dict[int, int | None] = {}  # those who wait for the same lock have the same facts
    for number in bound:
        wait = rows[number].wait
        facts = {} if wait is None else wait.facts
        if id(facts) in targets:
            target = targets[id(facts)]
        else:
            g = facts.get("owner_greenlet") or facts.get("thread_greenlet")
            target = by_greenlet.get(id(g)) if g is not None else None
            if target is None:
                ident = facts.get("owner_ident") or facts.get("ident")
                target = by_ident.get(ident) if ident is not None else None
            targets[id(facts)] = target
        if target is not None:
            after[number] = target
    done: set[int] = set()
    for first in after:
        path: list[int] = []
        here: int | None = first
        while here is not None and here not in done:
            done.add(here)
            path.append(here)
            here = after.get(here)
        if here in path:
            circle = path[path.index(here) :]
            if any(_lock(rows[each].wait) is not None for each in circle):
                yield tuple(rows[each] for each in circle)
