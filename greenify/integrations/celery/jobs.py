"""One task in the pool: its thread, its time limits, and how it is ended from outside.

An exception reaches a task where it waits, or between two instructions where a time slice of it has ended;
never while celery's callbacks run, which acknowledge the message and tell the events.
"""

from __future__ import annotations

import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger
from greenlet import getcurrent

from greenify import core
from greenify.core.entries import Throw
from greenify.errors import TaskExit
from greenify.integrations.celery.calling import call
from greenify.integrations.celery.tracer import Late, disown, in_function
from greenify.integrations.celery.watch import Limit, Watch

__all__ = ["GRACE", "Job"]

#: Seconds after its hard time limit after which celery is told of it, though the task has not ended.
TIDYING = 2.0

#: Seconds after which a task that has been told to end, and has not, is told once more.
GRACE = 5.0

logger = get_logger("celery.pool")


class _End(TaskExit):
    """Ends a task; its function may tidy up, but not catch it as an Exception."""


class Job:
    """A task that the pool has taken.

    Args:
        pid: by what celery names it to `TaskPool.terminate_job`.
        target, args, kwargs: what runs the task: celery's tracer.
        options: those of `celery.concurrency.base.BasePool.on_apply`, of which the callbacks are used.
        soft, hard: time limits, in seconds; None for none.
        watch: is told of the limits.
    """

    def __init__(
        self,
        pid: int,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        options: dict[str, Any],
        soft: float | None,
        hard: float | None,
        watch: Watch,
    ) -> None:
        self.pid = pid
        self.target = target
        self.args = args or ()
        self.kwargs = kwargs or {}
        self.soft = soft
        self.hard = hard
        self.ended_by = ""  # what has told it to end
        self.told_at = 0.0
        self._options = options
        self._watch = watch
        self._limits: list[Limit] = []
        self._hub: core.Hub | None = None
        self._greenlet: Any = None
        self._inside = False  # of the task, not of a callback
        self._disowned = False  # nothing that it returns counts any more
        self._reported = False  # that its hard time limit is over
        self._reporting: threading.Lock

    def __str__(self) -> str:
        request = self._request()
        if request is None:
            return f"job {self.pid}"
        return f"{request.name}[{request.id}]"

    def _request(self) -> Any:
        # celery's callbacks are methods of its request.
        return getattr(self._options.get("accept_callback"), "__self__", None)

    # In the thread of the job.

    def run(self) -> None:
        """Accept the task, run it and tell celery what has come of it."""
        request = self._request()
        # Revoked while it waited for a place.
        if request is not None and request.revoked():
            return
        self._call_back("accept_callback", self.pid, monotonic())
        if self.ended_by:
            return  # it had been told to end when it would begin
        self._greenlet = getcurrent()
        self._hub = core.get_hub()
        self._start_limits()
        self._inside = True
        try:
            result = call(self)
        except BaseException as exc:
            self._leave()
            self._failed(exc)
        else:
            self._leave()
            if self._disowned:
                self._failed(Late())  # it has raised what the tracer stores nothing of
            else:
                self._call_back("callback", result)

    def _start_limits(self) -> None:
        if self.soft:
            self._limits.append(self._watch.start(self, "soft", self.soft, self._reach_soft))
        if self.hard:
            self._limits.append(self._watch.start(self, "hard", self.hard, self._reach_hard))

    def _leave(self) -> None:
        self._inside = False
        for limit in self._limits:
            limit.cancel()

    def _failed(self, exc: BaseException) -> None:
        if isinstance(exc, Late):
            logger.warning(
                "%s went on to its end though it was told to end (%s): what has come of it is dropped%s",
                self,
                self._reason(),
                "" if exc.__context__ is None else f", {exc.__context__!r}",
            )
        if not self.ended_by:
            # SystemExit, say; what celery's tracer makes a result of does not come here.
            self._call_back("error_callback", ExceptionInfo())
        elif self.ended_by == "hard":
            self._report()
        # Else the request has said what is to be said of it, to whoever asked for its end.

    def _report(self) -> None:
        # Who comes second waits for the first: the worker may end with this job.
        with self._reporting:
            if not self._reported:
                self._reported = True
                self._call_back("timeout_callback", False, self.hard)

    def _call_back(self, name: str, *args: Any) -> None:
        callback = self._options.get(name)
        if callback is not None:
            try:
                callback(*args)
            except Exception:
                logger.exception("%s: the worker's %s has failed", self, name)

    # From other threads.

    def terminate(self, signal: int | None = None) -> None:
        """For celery, which asks the pool first (`kill`): there is nothing left to do."""

    def kill(self) -> None:
        """Have the task end where it waits."""
        self._end("killed")

    def wanted(self) -> bool:
        """Whether an exception on its way to the thread still finds the task."""
        return self._inside

    def stack(self) -> FrameType | None:
        """Where the task waits."""
        frame: FrameType | None = self._greenlet.gr_frame if self._inside else None
        return frame

    def _throw(self, error: BaseException) -> None:
        hub = self._hub
        if hub is None or not self._inside:
            return
        if hub.foreign():
            hub.call_from_thread(self._deliver, hub, error)
        else:
            self._deliver(hub, error)

    def _deliver(self, hub: core.Hub, error: BaseException) -> None:
        """In the thread of `hub`: there the job stands still, or it is the caller."""
        if not self._inside:
            return
        itself = self._greenlet is getcurrent()
        if isinstance(error, _End):
            # From now on, though it may catch what is thrown, or be on its way already.
            self._disowned |= disown(sys._getframe() if itself else self.stack())
        if itself:
            raise error
        hub.ready.append(Throw(self._greenlet, error, self))

    def _reason(self) -> str:
        return "hard time limit" if self.ended_by == "hard" else "terminated"

    def _end(self, why: str) -> None:
        again = bool(self.ended_by)
        self.ended_by = self.ended_by or why
        self.told_at = self.told_at or monotonic()
        if not again:
            self._reporting = threading.Lock()
        if self._inside and not again:
            self._limits.append(self._watch.start(self, "grace", GRACE, self._remind))
            if why == "hard":
                self._limits.append(self._watch.start(self, "grace", TIDYING, self._report_early))
        self._throw(_End(why))

    # By the hub, when a time is up: what may wait goes to a thread of its own.

    def _reach_soft(self) -> None:
        if in_function(self.stack()):
            self._throw(SoftTimeLimitExceeded())
            # Not threading's: its start() waits for the thread to begin.
            start_new_thread(self._call_back, ("timeout_callback", True, self.soft))

    def _reach_hard(self) -> None:
        self._end("hard")

    def _report_early(self) -> None:
        # Not of one that is given out again then: two would run side by side.
        task = getattr(self._request(), "task", None)
        if self._disowned and (task is None or not task.acks_late or task.acks_on_timeout):
            start_new_thread(self._report, ())

    def _remind(self) -> None:
        self._watch.report(
            self,
            "%s goes on, %.0f s after it was told to end (%s). It is told again; it waits at\n%s",
            monotonic() - self.told_at,
            self._reason(),
        )
        self._limits.append(self._watch.start(self, "grace", GRACE, self._remind))
        self._throw(_End(self.ended_by))
