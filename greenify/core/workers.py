"""Native threads for calls that cannot be made cooperative (resolvers, opaque C code, regular files).

The pool grows to its limit only while calls wait for a thread, and an idle thread ends by itself, so a
program that never resolves a name has no second thread.
"""

from __future__ import annotations

import _thread
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from greenify.core.hub import current_hub, get_hub, is_main_thread
from greenify.core.waiters import HubWaiter

__all__ = ["Workers", "default_workers"]

T = TypeVar("T")

_monotonic = time.monotonic
_start_native = _thread.start_new_thread
_native_lock = _thread.allocate_lock


class _Nobody:
    """Waits for the end of no job."""

    __slots__ = ()

    def wake(self) -> None:
        pass


class _Job:
    __slots__ = ("args", "error", "function", "kwargs", "result", "waiter")

    def __init__(
        self,
        waiter: HubWaiter | _Nobody,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> None:
        self.waiter = waiter
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.error: BaseException | None = None


class Workers:
    """A pool of native threads.  Any thread may use it.

    Args:
        limit: the largest number of threads; further calls wait for one of them.
        idle: seconds after which a thread without work ends.
    """

    def __init__(self, limit: int = 16, idle: float = 10.0) -> None:
        self.limit = limit
        self.idle = idle
        self._reset()

    def _reset(self) -> None:
        # Also in a forked child, which has none of the parent's threads.
        self._guard = _native_lock()
        self._jobs: deque[_Job] = deque()
        self._sleepers: list[Any] = []  # the native locks of idle threads
        self.threads = 0

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``function(*args, **kwargs)`` on a native thread and wait for it cooperatively.

        On an OS thread without a hub it is called directly.  An exception is raised here as it was there.
        When the waiting greenlet is killed, the call goes on and its outcome is dropped.
        """
        hub = current_hub()
        if hub is None:
            if not is_main_thread():
                return function(*args, **kwargs)
            hub = get_hub()
        waiter = HubWaiter(hub)
        job = _Job(waiter, function, args, kwargs)
        self._submit(job)
        hub.lent += 1
        try:
            waiter.wait()
        except BaseException:
            # Not started yet: then it need not run at all.
            with self._guard:
                if job in self._jobs:
                    self._jobs.remove(job)
            raise
        finally:
            hub.lent -= 1
        if job.error is not None:
            try:
                raise job.error
            finally:
                # The traceback holds this frame, and the frame the job: break the cycle.
                del job
        result: T = job.result
        return result

    def start(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on a native thread some time soon.  It must not raise."""
        self._submit(_Job(_Nobody(), function, args, {}))

    def _submit(self, job: _Job) -> None:
        with self._guard:
            self._jobs.append(job)
            if self._sleepers:
                self._sleepers.pop().release()
                return
            if self.threads >= self.limit:
                return
            self.threads += 1
        try:
            _start_native(self._work, ())
        except BaseException:
            with self._guard:
                self.threads -= 1
                if self.threads:
                    return  # the threads that exist will come to it
                self._jobs.remove(job)
            raise

    def _work(self) -> None:
        guard = self._guard
        alarm = _native_lock()
        alarm.acquire()
        while True:
            job = None
            with guard:
                if self._jobs:
                    job = self._jobs.popleft()
                else:
                    self._sleepers.append(alarm)
            if job is None:
                if alarm.acquire(True, self.idle):
                    continue
                with guard:
                    if alarm in self._sleepers:
                        self._sleepers.remove(alarm)
                        self.threads -= 1
                        return
                # Called at the very moment we gave up: the job is ours.
                alarm.acquire()
                continue
            try:
                job.result = job.function(*job.args, **job.kwargs)
            except BaseException as exc:
                job.error = exc
            finished = job.waiter
            del job
            finished.wake()
            del finished


default_workers = Workers()
