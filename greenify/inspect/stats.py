"""Numbers about this process: threads, switches, the loop's delay, calls on native threads, descriptors."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from greenify.core import registry
from greenify.core.clock import monotonic as _monotonic
from greenify.core.native import own_threads
from greenify.inspect import since

__all__ = ["BUCKETS", "Delays", "Stats", "measure_delays", "stats"]

#: The upper bounds of the histogram of the loop's delays, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# How often the delay is measured, in seconds.
_PERIOD = 0.1


@dataclass
class Delays:
    """How late the loop has called what was due: a histogram.

    Attributes:
        bounds: the upper bounds of the buckets, in seconds; one more bucket takes what is above.
        counts: how many delays fell into each.
        total: their sum, in seconds.
        worst: the longest, in seconds.
    """

    bounds: tuple[float, ...] = BUCKETS
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0
    worst: float = 0.0

    def add(self, delay: float) -> None:
        """Count one `delay`, in seconds."""
        number = 0
        for bound in self.bounds:
            if delay <= bound:
                break
            number += 1
        self.counts[number] += 1
        self.total += delay
        self.worst = max(self.worst, delay)


@dataclass
class Stats:
    """What `greenify.stats` tells.

    Attributes:
        threads: green threads and tasks that live, with the main ones, on all hubs.
        ready: how many of them could run at once.
        waiting_deadlines: how many deadlines are pending: sleeps and time-outs.
        rounds: how many times the ready queues have gone round, of all hubs.
        switches: how many times threads and tasks have given way to others since the process can be asked
            (`inspect.listen`); None where it cannot.
        handed_over: calls that run on native threads now, and that somebody waits for.
        native_threads: of greenify's own, for such calls.
        registered_descriptors: those that hubs have registered with the kernel.
        open_descriptors: of the process; None where the system does not tell.
        hubs: OS threads that run green threads.
        delays: the loop's delay, if `measure_delays` has been called, else None.
    """

    threads: int
    ready: int
    waiting_deadlines: int
    rounds: int
    switches: int | None
    handed_over: int
    native_threads: int
    registered_descriptors: int
    open_descriptors: int | None
    hubs: int
    delays: Delays | None

    def as_dict(self) -> dict[str, Any]:
        """The same in plain types."""
        return asdict(self)


_measured: dict[int, _Meter] = {}
_delays: Delays | None = None


class _Meter:
    """A timer that measures by how much it is late, again and again."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._due = 0.0

    def again(self) -> None:
        """Set it anew.  In the hub's own OS thread."""
        self._due = _monotonic() + _PERIOD
        self._hub.timers.add(self._due, self)

    def due(self) -> None:
        """The timer is called."""
        if _delays is not None and not self._hub.abandoned:
            _delays.add(max(0.0, _monotonic() - self._due))
            self.again()


def measure_delays(hub: Any = None) -> None:
    """Measure from now on how late this OS thread's loop is: every 0.1 s, by a timer.

    It wakes a process that would sleep ten times a second, so it is not on by itself.  Any thread that has a
    hub may call it; twice does nothing more.
    """
    global _delays
    if _delays is None:
        _delays = Delays()
    hub = registry.get_hub() if hub is None else hub
    if id(hub) not in _measured:
        meter = _measured[id(hub)] = _Meter(hub)
        meter.again()


def stats() -> Stats:
    """Numbers about this process, now.  Any thread may ask; nothing is counted for it before.

    Switches are counted from `inspect.listen` on only, for that costs each of them; `Stats.rounds` is what
    the loop counts anyway.
    """
    hubs = _copy(registry.hubs)
    return Stats(
        threads=sum(len(hub.tasks) + 1 for hub in hubs),
        ready=sum(_ready(hub) for hub in hubs),
        waiting_deadlines=sum(max(0, hub.timers.pending()) for hub in hubs),
        rounds=sum(hub.turns for hub in hubs),
        switches=since.switches(),
        handed_over=sum(hub.lent for hub in hubs),
        native_threads=own_threads(),
        registered_descriptors=sum(len(hub.descriptors.by_fd) for hub in hubs),
        open_descriptors=_open(),
        hubs=len(hubs),
        delays=_delays,
    )


def _copy(hubs: Any) -> tuple[Any, ...]:
    while True:
        try:
            return tuple(hubs)
        except RuntimeError:
            continue  # another OS thread has added one


def _ready(hub: Any) -> int:
    # The mark of the round's end and callbacks are no threads; there are a few of them at most.
    return sum(hasattr(item, "gr_frame") for item in _copy(hub.ready))


def _open() -> int | None:
    path = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    try:
        # Without the one that lists them.
        return len(os.listdir(path)) - 1
    except OSError:
        return None
