"""Time limits, and what is said of a task that does not let them be kept.

The hub notices that a time is up, but only when it has its turn.  A call in C that does not let the others
run keeps it from that.  So a native thread looks every second, as long as there are limits, and names what
runs in their place.  If even that thread does not run, for the call keeps the interpreter, faulthandler
writes the stacks.
"""

from __future__ import annotations

import faulthandler
import math
import sys
import time
import traceback
from _thread import start_new_thread
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger

from greenify import core
from greenify.core.native import start_hidden
from greenify.patches import original

if TYPE_CHECKING:
    from greenify.integrations.celery.jobs import Job

__all__ = ["MARGIN", "Limit", "Watch"]

#: Seconds by which a limit may be noticed late without a word.
MARGIN = 1.0

# Seconds after which faulthandler speaks, which does not need the interpreter.
_LAST_RESORT = 4.0

# In its frame a task is called.
_CALLING = "greenify.integrations.celery.calling"

logger = get_logger("celery.pool")


class Limit:
    """A time at which something is done about a job."""

    def __init__(
        self, watch: Watch, job: Job, kind: str, seconds: float, action: Callable[[], None]
    ) -> None:
        self.job = job
        self.kind = kind
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.reported = False
        self._watch = watch
        self._action = action
        self._hub = core.get_hub()
        self._entry = self._hub.timers.add(self.deadline, self)

    def due(self) -> None:
        """Called by the hub when the time is up."""
        if self not in self._watch.limits:
            return
        self._watch.limits.discard(self)
        late = time.monotonic() - self.deadline
        if late > MARGIN and not self.reported:
            self._watch.say(
                "%s: its %s time limit of %g s is noticed %.1f s late, for something did not let "
                "the others run",
                self.job, self.kind, self.seconds, late,
            )  # fmt: skip
        self._action()

    def cancel(self) -> None:
        """Forget it."""
        if self in self._watch.limits:
            self._watch.limits.discard(self)
            self._hub.timers.cancel(self._entry)


class Watch:
    """All limits of a pool."""

    def __init__(self) -> None:
        self.limits: set[Limit] = set()
        self._hub_thread = core.get_hub().ident
        # The twin gives the frame in which the main thread waits.
        self._current_frames = original("sys")._current_frames
        self._running = False
        self._armed_for = math.inf

    def start(self, job: Job, kind: str, seconds: float, action: Callable[[], None]) -> Limit:
        """Have the hub call `action` in so many seconds."""
        limit = Limit(self, job, kind, seconds, action)
        self.limits.add(limit)
        if limit.deadline < self._armed_for:
            self._arm()  # now: what is called next may keep the interpreter
        if not self._running:
            self._running = True
            start_hidden(self._look)
        return limit

    def say(self, text: str, *args: Any) -> None:
        """Write to the log, which may wait, from the hub, which should not."""
        start_new_thread(logger.error, (text, *args))

    def report(self, job: Job, text: str, *args: Any) -> None:
        """Write ``text % (job, *args, stack of the job)`` to the log."""
        self.say(text, job, *args, _format(job.stack()))

    # On the native thread.

    def _look(self) -> None:
        try:
            while self.limits:
                self._arm()
                time.sleep(1.0)
                self._look_once()
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._armed_for = math.inf
            self._running = False

    def _arm(self) -> None:
        stream = sys.__stderr__
        earliest = min((limit.deadline for limit in tuple(self.limits)), default=None)
        if earliest is None or stream is None:
            return
        self._armed_for = earliest
        try:
            faulthandler.dump_traceback_later(
                max(earliest - time.monotonic(), 0.0) + _LAST_RESORT, file=stream
            )
        except (OSError, ValueError):
            pass  # a worker in the background whose standard error is closed

    def _look_once(self) -> None:
        now = time.monotonic()
        for limit in tuple(self.limits):
            if now - limit.deadline > MARGIN and not limit.reported:
                limit.reported = True
                frame = self._current_frames().get(self._hub_thread)
                logger.error(
                    "%s is past its %s time limit of %g s and cannot be ended, for %s does not let "
                    "the others run:\n%s",
                    limit.job, limit.kind, limit.seconds, _who(frame, limit.job), _format(frame),
                )  # fmt: skip


def _who(frame: FrameType | None, job: Job) -> str:
    """The name of the task that runs, found by the frame that has called it."""
    while frame is not None:
        if frame.f_globals.get("__name__") == _CALLING:
            runs = frame.f_locals["job"]
            return "it" if runs is job else str(runs)
        frame = frame.f_back
    return "something else"


def _format(frame: FrameType | None) -> str:
    """The stack, from the task on."""
    frames: list[FrameType] = []
    while frame is not None and frame.f_globals.get("__name__") != _CALLING:
        frames.append(frame)
        frame = frame.f_back
    if not frames:
        return "(no frame)"
    stack = [
        traceback.FrameSummary(f.f_code.co_filename, f.f_lineno, f.f_code.co_name) for f in frames
    ]
    return "".join(traceback.format_list(stack[::-1]))
