"""Deadlines: one heap, checked against `time.monotonic`.

libuv only bounds the sleep (`Loop.sleep`); what is due is decided here, so a timer never fires early and
keeps the clock's own resolution.  An entry is the list ``[deadline, sequence, target]``: lists compare
in C, the sequence number keeps equal deadlines in order and the target out of comparisons.  Cancelling
clears the target in place; the heap is rebuilt when more than half of it is cancelled.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Protocol

from greenify.core.clock import monotonic as _monotonic

__all__ = ["LONGEST", "Due", "Entry", "Timers"]


# The longest time, in seconds, that the interpreter's own calls accept: nanoseconds in 63 bits.  They refuse
# the next larger float, and the next larger integer.
LONGEST = 9223372036.854774

_ENDLESS = float("inf")

# Below this many cancelled entries a rebuild costs more than it frees.
_TOLERATED = 256


class Due(Protocol):
    """What can be put on a timer."""

    def due(self) -> None:
        """Called once by the hub, in its greenlet, when the deadline has passed.  Must not block."""


Entry = list[Any]  # [deadline: float, sequence: int, target: Due | None]


class Timers:
    """The pending deadlines of one hub.  Only the hub's own OS thread may touch it."""

    __slots__ = ("_cancelled", "_changes", "_sequence", "heap")

    def __init__(self) -> None:
        self.heap: list[Entry] = []
        self._sequence = count()
        self._cancelled = 0
        self._changes = 0  # counts everything that happens to the heap

    def add(self, deadline: float, target: Due) -> Entry:
        """Call ``target.due()`` once `deadline` (`time.monotonic` seconds) has passed.  O(log n).

        Raises:
            ValueError: `deadline` is NaN.
            TypeError: it is not a real number.
        """
        # In the heap either would break the order, and end the sleep of everybody.
        if not deadline <= _ENDLESS:
            raise ValueError("Invalid value NaN (not a number)")
        entry: Entry = [deadline, next(self._sequence), target]
        self._changes += 1
        heappush(self.heap, entry)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Forget `entry`; does nothing if it has fired or was cancelled.  O(1) amortised."""
        if entry[2] is None:
            return
        entry[2] = None
        self._cancelled += 1
        self._changes += 1
        if self._cancelled > _TOLERATED and self._cancelled * 2 > len(self.heap):
            changes = self._changes
            kept = [kept for kept in self.heap if kept[2] is not None]
            heapify(kept)
            # A finaliser or a signal handler may have waited meanwhile: then the next one rebuilds it.
            if changes == self._changes:
                # In place: the hub's loop holds a reference to this very list.
                self.heap[:] = kept
                self._cancelled = 0

    def next(self) -> float | None:
        """The earliest deadline that is still wanted, or None."""
        heap = self.heap
        while heap:
            head = heap[0]
            if head[2] is not None:
                deadline: float = head[0]
                return deadline
            self._changes += 1
            self._cancelled -= 1
            heappop(heap)
        return None

    def fire(self) -> None:
        """Call every target whose deadline has passed, in the order of the deadlines."""
        heap = self.heap
        now = _monotonic()
        while heap and heap[0][0] <= now:
            entry = heap[0]
            target = entry[2]
            if target is not None:
                # Left in the heap until it has run: an exception that a signal handler raises in between
                # then fires the target twice at most, and never loses it.
                target.due()
                if entry[2] is not None:
                    entry[2] = None
                    self._cancelled += 1
            if heap and heap[0] is entry:
                self._changes += 1
                self._cancelled -= 1
                heappop(heap)

    def pending(self) -> int:
        """How many deadlines are wanted."""
        return len(self.heap) - self._cancelled
