"""`greenify.watch`: reports of who keeps the loop."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from greenify.core import registry, ticker
from greenify.watching.looking import Looker, Stay
from greenify.watching.reports import Place, Report, report
from greenify.watching.telling import Teller

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Watch", "on_report", "turn_on", "watch"]

logger = logging.getLogger("greenify.blocked")

# A stay that is so many times as long as asked for, and at least a second, is reported while it goes on.
_TIMES = 10
_LONG = 1.0
# One in which nothing of Python can run has faulthandler write all stacks when it is as much longer again.
_ALARM = 5

# How many seconds `flush` waits for each of two native threads at most.
_PATIENCE = 1.0

#: Called with every report of every watch, on its native thread.
on_report: list[Callable[[Report], object]] = []

_watches: dict[Watch, None] = {}


class Watch:
    """Looks who keeps the loop, until `stop`; see `watch`, which makes it.  A context manager, too.

    Args:
        seconds, callback: as of `watch`.
        patience: seconds after which a stay is reported while it goes on.
        alarm: seconds after which, if no Python code can run for C code keeps the interpreter lock,
            faulthandler writes all stacks to standard error.
    """

    def __init__(
        self,
        seconds: float,
        callback: Callable[[Report], object] | None = None,
        *,
        patience: float | None = None,
        alarm: float | None = None,
    ) -> None:
        if not 0 < seconds < float("inf"):
            raise ValueError(f"seconds must be positive, not {seconds!r}")
        self.seconds = seconds
        self._callback = callback
        self._patience = max(_TIMES * seconds, _LONG) if patience is None else patience
        self._alarm = self._patience * _ALARM if alarm is None else alarm
        self._places: dict[tuple[str, int, str], Place] = {}
        self._lookers: dict[Hub, Looker] = {}
        self._teller = Teller(self._tell)
        self._begin()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "" if self in _watches else ", stopped"
        return f"<Watch for {self.seconds:g} s{state}>"

    @property
    def places(self) -> list[Place]:
        """All places at which the loop was kept too long, the worst in total first."""
        return sorted(self._places.values(), key=lambda place: -place.total)

    def flush(self) -> None:
        """Have everything reported that has been seen; a stay that is going on is reported as ended here.

        Any thread may call it; it blocks the OS thread for some milliseconds.
        """
        for looker in tuple(self._lookers.values()):
            looker.flush(_PATIENCE)
        self._teller.flush(_PATIENCE)

    def stop(self) -> None:
        """Report what has been seen, and look no more.  Any thread; the second call does nothing."""
        if self not in _watches:
            return
        _watches.pop(self, None)
        for hub in tuple(self._lookers):
            self._leave(hub)
        self._teller.flush(_PATIENCE)

    def _begin(self) -> None:
        _watches[self] = None
        for hub in tuple(registry.hubs):
            self._look_at(hub)

    def _look_at(self, hub: Hub) -> None:
        for other in tuple(self._lookers):
            if other.abandoned:
                del self._lookers[other]  # in a child of a fork: the parent's
        looker = Looker(hub, self.seconds, self._patience, self._alarm, self._teller.add)
        self._lookers[hub] = looker
        try:
            ticker.attach(hub, looker)
        except RuntimeError as exc:
            del self._lookers[hub]
            logging.getLogger("greenify").warning("%r is not watched: %s", hub, exc)
            return
        # Until the native thread runs: else it does not know how long the first call has kept it from that.
        looker.flush(_PATIENCE)

    def _leave(self, hub: Hub) -> None:
        looker = self._lookers.pop(hub, None)
        if looker is not None:
            looker.flush(_PATIENCE)
            ticker.detach(hub, looker)
            looker.close()

    def _tell(self, stay: Stay) -> None:
        # On the native thread of the teller.
        found = report(stay)
        known = found.place in self._places
        place = self._places.setdefault(found.place, Place(found))
        if found.ended:
            place.add(found)
        for function in tuple(on_report):
            function(found)
        if self._callback is not None:
            self._callback(found)
        elif not known:
            path = _write_trace()
            more = "" if path is None else f"\n  The trace of the last seconds is in {path}"
            logger.warning("%s%s", found, more, extra={"blocked": found.facts()})
        elif stay.told and found.ended and place.calls == 1:
            logger.warning(
                "%s has kept the loop for %.2f s, at %s:%d in %s; it is over now",
                found.thread,
                found.seconds,
                found.file,
                found.line,
                found.function,
                extra={"blocked": found.facts()},
            )


def watch(seconds: float = 0.1, callback: Callable[[Report], object] | None = None) -> Watch:
    """Report whenever one green thread keeps the loop for longer than `seconds`, so that no other can run::

        greenify.watch(0.1)
        with greenify.watch(0.1, print):
            ...

    Native threads look at the hubs of all OS threads, those to come as well, and at those of forked children.
    They sleep while these do.  Any thread may call this.

    Args:
        seconds: how long is too long.  What is shorter than 0.01 is seen by chance.
        callback: called with each `Report`, on a native thread: when a stay has ended, and before that if it
            goes on for ten times as long (at least a second).  By default each place is told once to the
            logger ``greenify.blocked``, as a warning, with the facts as the record's attribute ``blocked``.

    Returns:
        What ends it: by ``stop()``, or at the end of a ``with`` block.  Its ``places`` count the stays.

    Raises:
        ValueError: `seconds` is not positive.
    """
    return Watch(seconds, callback)


def _write_trace() -> str | None:
    """Have the flight recorder write what it has, if there is one (``--trace-last``); gives the file."""
    if "greenify.tracing.session" not in sys.modules:
        return None
    from greenify.tracing.turned_on import write_now

    return write_now()


def turn_on(seconds: float) -> None:
    """Watch until the end of the process: for ``--watch`` and ``GREENIFY_WATCH``.

    Args:
        seconds: as of `watch`.
    """
    watch(seconds)


def _new_hub(hub: Hub) -> None:
    for each in tuple(_watches):
        each._look_at(hub)


def _hub_ends(hub: Hub) -> None:
    for each in tuple(_watches):
        each._leave(hub)


def _stop_all() -> None:
    for each in tuple(_watches):
        each.stop()


registry.on_new_hub(_new_hub)
registry.before_close(_hub_ends)
atexit.register(_stop_all)
