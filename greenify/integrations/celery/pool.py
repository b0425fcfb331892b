"""celery's pool: how many tasks run, which wait, and how the worker ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import celery
import click
from celery.backends.asynchronous import greenletDrainer, register_drainer
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.signals import worker_ready
from celery.utils.log import get_logger
from celery.worker import state

from greenify.integrations.celery.jobs import GRACE, Job
from greenify.integrations.celery.watch import Watch
from greenify.integrations.late_patch import LatePatch

__all__ = ["TaskPool", "loaded"]

# What the patch has found that loading the pool has made.
_patch: LatePatch | None = None

logger = get_logger("celery.pool")

# The first whose event loop notices what other threads have for it (acknowledgements).
_OLDEST = (5, 7)

# What celery names a setting, and what the user has written.
_REFUSED = {
    "maxtasksperchild": "--max-tasks-per-child (worker_max_tasks_per_child)",
    "max_memory_per_child": "--max-memory-per-child (worker_max_memory_per_child)",
}


class _Refused(ImproperlyConfigured, click.ClickException):  # type: ignore[misc]
    """Of which celery's command prints one line, and no traceback."""


class TaskPool(BasePool):  # type: ignore[misc]
    """A pool of celery's that runs each task in a green thread of its own.

    Name it to celery as ``CELERY_CUSTOM_WORKER_POOL=greenify.integrations.celery:TaskPool`` with
    ``-P custom``.  celery makes it; programs do not.

    Time limits, ``revoke(terminate=True)`` and a cold shutdown end a task where it waits, and one that
    computes in Python between two instructions.  One that sits in C is named in the log.

    Raises:
        ImproperlyConfigured: celery is too old, or has been given what asks for processes.
    """

    # celery's loop must not be shut down from within a signal handler that has interrupted a wait.
    signal_safe = False
    # For pools that keep the loop waiting for a free place: on_apply does not.
    is_green = False
    task_join_will_block = False
    body_can_be_buffer = True

    limit: int

    def __init__(self, limit: int | None = None, **options: Any) -> None:
        if celery.VERSION[:2] < _OLDEST:
            raise _Refused(
                f"greenify's pool needs celery {_OLDEST[0]}.{_OLDEST[1]} or later, "
                f"this is {celery.__version__}"
            )
        for name, setting in _REFUSED.items():
            if options.get(name):
                raise _Refused(
                    f"{setting} is for pools of processes: greenify's pool runs all tasks in the worker's "
                    "own process. Leave it out, and have the service manager restart the worker if memory "
                    "grows"
                )
        super().__init__(limit or 0, **options)
        self._pids = itertools.count(1)
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._ended = threading.Condition()
        self._hub: Any = None  # kombu's
        self._watch: Watch
        self._said = False

    # What celery calls.

    def on_start(self) -> None:
        self._watch = Watch()
        worker_ready.connect(_keep_to_loop)
        if _patch is not None and _patch.made and not self._said:
            self._said = True
            _tell(_patch)

    def register_with_event_loop(self, loop: Any) -> None:
        self._hub = loop
        # It fires ten timers, and then sleeps for a second although more are due.
        loop.fire_timers = partial(_fire_timers, loop)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Job:
        """Take a task.  It never waits: the loop that calls it answers the broker and remote control, too.

        The prefetch count bounds how many wait here.
        """
        job = Job(
            next(self._pids),
            target,
            args,
            kwargs,
            options,
            soft_timeout or self.options.get("soft_timeout"),
            timeout or self.options.get("timeout"),
            self._watch,
        )
        if self._state == self.RUN:
            self._waiting.append(job)
            self._fill()
        # Else it is not acknowledged: the broker gives it to another worker.
        return job

    def grow(self, n: int = 1) -> None:
        self.limit += n
        self._fill()

    def shrink(self, n: int = 1) -> None:
        """Let so many fewer tasks run from now on; those that run are left alone."""
        self.limit = max(self.limit - n, 0)

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """End a task; whatever the signal, it is an exception where it waits."""
        job = self._running.get(pid)
        if job is not None:
            job.kill()

    def flush(self) -> None:
        """Forget what waits: the connection is lost, and the broker gives these tasks out again."""
        self._waiting.clear()

    def on_stop(self) -> None:
        """Warm shutdown: wait for the tasks that run.  What waits for a place is left to other workers."""
        self.flush()
        while self._patient():
            if not self._turn_loop():
                with self._ended:
                    self._ended.wait(1.0)
        for job in self._running.values():
            logger.error("%s goes on though it was told to end: the worker does not wait", job)

    def on_terminate(self) -> None:
        """Cold shutdown: end the tasks, and wait for that."""
        for job in tuple(self._running.values()):
            job.kill()
        self.on_stop()

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        info["running"] = len(self._running)
        info["waiting"] = len(self._waiting)
        return info

    # Running.

    def _fill(self) -> None:
        # From the signal on, though celery's loop may notice it a second later.
        # An exit code may be 0, and celery takes False for "no".
        if not all(
            told is None or told is False for told in (state.should_stop, state.should_terminate)
        ):
            return
        while self._waiting and len(self._running) < self.limit:
            job = self._waiting.popleft()
            self._running[job.pid] = job
            threading.Thread(
                target=self._run, args=(job,), name=f"celery-{job.pid}", daemon=True
            ).start()

    def _run(self, job: Job) -> None:
        try:
            job.run()
        finally:
            del self._running[job.pid]
            self._fill()
            if self._state != self.RUN:
                with self._ended:
                    self._ended.notify_all()
                if self._hub is not None:
                    self._hub.call_soon(_nothing)  # wakes it

    # Ending.

    def _patient(self) -> bool:
        """Whether there are tasks to wait for: not those that were told to end and do not."""
        now = time.monotonic()
        return any(
            not job.told_at or now - job.told_at < GRACE for job in tuple(self._running.values())
        )

    def _turn_loop(self) -> bool:
        """Turn the loop of the worker, which has left it: acknowledgements and heartbeats are to go on.

        Returns:
            Whether that is possible.
        """
        hub = self._hub
        if hub is None:
            return False
        try:
            # A loop of its own: a signal may have come while one is being turned.
            next(hub.create_loop())
        except Exception:
            # The broker is gone, say.
            logger.exception("the worker's loop has failed while tasks are waited for")
            self._hub = None
        return True


def loaded(patch: LatePatch) -> None:
    """Called once, when celery has loaded the pool: the process is a worker, patched by `patch`."""
    global _patch
    _patch = patch
    register_drainer("default")(_Drainer)


def _keep_to_loop(sender: Any, **_: Any) -> None:
    """Have only the loop of `sender`, celery's consumer, talk to the broker.

    After a lost connection each task that is acknowledged raises the prefetch count again, from the thread it
    has run in.  That waits for an answer, which somebody else may read who waits for one.
    """
    name = "_restore_prefetch_count_after_connection_restart"
    restore = getattr(type(sender), name, None)
    if restore is not None:
        setattr(sender, name, partial(sender.call_soon, restore, sender))


def _fire_timers(hub: Any, **options: Any) -> Any:
    """Fire all timers that are due: tasks that a rate limit holds back have one each."""
    return type(hub).fire_timers(hub, max_timers=len(hub.timer) + 10, **options)


def _nothing() -> None:
    pass


def _tell(patch: LatePatch) -> None:
    logger.info(
        "greenify: patched when celery loaded the pool; %d references and objects from before were adapted",
        patch.adapted,
    )
    for text in patch.out_of_reach:
        logger.warning(
            "greenify: %s (to be in time for it: python -m greenify -m celery ... -P custom)", text
        )


class _Drainer(greenletDrainer):  # type: ignore[misc]
    """One thread reads the results that tasks wait for; else many would read from one connection."""

    def spawn(self, function: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=function, name="celery-results", daemon=True)
        thread.start()
        return thread
