"""Native threads for calls that cannot be made cooperative (resolvers, opaque C code, regular files).

The pool grows to its limit only while calls wait for a thread, and an idle thread ends by itself, so a
program that never resolves a name has no second thread.
"""

from __future__ import annotations

import _thread
import atexit
import time
from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from greenify.core import waiters
from greenify.core.registry import current_hub, get_hub, is_main_thread
from greenify.core.waiters import HubWaiter

__all__ = ["Workers", "default_workers", "lookup_workers"]

T = TypeVar("T")

_start_native = _thread.start_new_thread
_native_sleep = time.sleep
_monotonic = time.monotonic

# How many seconds a call waits for a thread before one is started for it beyond `Workers.prompt`.
_PATIENCE = 0.02

# The threads that have been started and do not run yet, each with the generation of its process.
_starting: set[tuple[int, object]] = set()


class _Nobody:
    """Waits for the end of no job."""

    __slots__ = ()

    def wake(self) -> None:
        pass


class _Job:
    __slots__ = ("args", "begun", "dropped", "error", "function", "kwargs", "result", "waiter")

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
        self.begun = False
        self.dropped = False  # nobody wants it any more
        self.result: Any = None
        self.error: BaseException | None = None


class Workers:
    """A pool of native threads.  Any thread may use it, a signal handler or a finaliser at any moment.

    It therefore has no lock: everything shared is changed by single operations of C types.

    Args:
        limit: the largest number of threads; further calls wait for one of them.
        idle: seconds after which a thread without work ends.
        prompt: how many threads are started as soon as there is work for them.  Beyond, one is started for a
            call that has waited for 20 ms: the calls are slow, and no burst of quick ones.  By default all.
    """

    def __init__(self, limit: int = 16, idle: float = 10.0, prompt: int | None = None) -> None:
        self.limit = limit
        self.idle = idle
        self.prompt = prompt
        self._reset()

    def _reset(self) -> None:
        # Also in a forked child, which has none of the parent's threads.
        self._generation = waiters.generation
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        # Each thread has an object of its own: in one set while it lives, in the other while it waits for
        # a job that nobody has called it for yet.
        self._alive: set[object] = set()
        self._waiting: deque[object] = deque()

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._alive) if self._generation == waiters.generation else 0

    @property
    def running(self) -> int:
        """How many of them the interpreter counts already (`_thread._count`)."""
        if self._generation != waiters.generation:
            return 0
        return sum((self._generation, me) not in _starting for me in tuple(self._alive))

    def resize(self, limit: int) -> None:
        """Change the largest number of threads.  Surplus ones end, when their calls have ended.

        Raises:
            ValueError: `limit` is not positive.
        """
        if limit < 1:
            raise ValueError("there has to be one thread at least")
        self.limit = limit
        if self._generation == waiters.generation:
            for _ in range(self._jobs.qsize()):
                if len(self._alive) >= limit:
                    break
                self._add_thread(limit)
            self._rouse()

    def dismiss(self) -> None:
        """Let the threads end as soon as there is nothing to do, the idle ones now."""
        self.idle = 0.0
        if self._generation == waiters.generation:
            self._rouse()

    def _rouse(self) -> None:
        """Have an idle thread look whether it shall end.  One that does calls this for the next one."""
        if len(self._alive) > (self.limit if self.idle else 0):
            nothing = _Job(_Nobody(), _Nobody, (), {})
            nothing.dropped = True
            self._jobs.put(nothing)

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
            if self.prompt is None:
                waiter.wait()
            elif not waiter.wait(_monotonic() + _PATIENCE):
                if not job.begun:
                    self._add_if_possible()
                waiter.wait()
        except BaseException:
            # Not started yet: then it need not run at all.
            job.dropped = True
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
        if self._generation != waiters.generation:
            self._reset()
        self._jobs.put(job)
        try:
            self._waiting.pop()
        except IndexError:
            # Nobody is there to take it.
            limit = self.limit if self.prompt is None else min(self.prompt, self.limit)
            try:
                self._add_thread(limit)
            except BaseException:
                if not self._alive:
                    job.dropped = True
                    raise
                # The threads that exist will come to it.

    def _add_thread(self, limit: int) -> None:
        me = object()
        alive = self._alive
        if not self._enter(me, alive, limit):
            return
        _starting.add((self._generation, me))
        try:
            _start_native(self._work, (me, alive, self._waiting, self._jobs))
        except BaseException:
            _starting.discard((self._generation, me))
            alive.discard(me)
            raise

    def _add_if_possible(self) -> None:
        try:
            self._add_thread(self.limit)
        except RuntimeError:
            # There is none to be had.  Those that exist will come to the call.
            pass

    def _enter(self, me: object, alive: set[object], limit: int) -> bool:
        while True:
            alive.add(me)
            if len(alive) <= limit:
                return True
            alive.discard(me)
            # Unless it was another one that was turned away because of us.
            if len(alive) >= limit:
                return False

    def _work(
        self, me: object, alive: set[object], waiting: deque[object], jobs: SimpleQueue[_Job]
    ) -> None:
        _starting.discard((self._generation, me))
        while True:
            if len(alive) > self.limit:
                # See `resize`.
                alive.discard(me)
                if jobs.empty() or not self._enter(me, alive, self.limit):
                    self._rouse()
                    return
            try:
                job = jobs.get_nowait()
            except Empty:
                waiting.append(me)
                try:
                    job = jobs.get(timeout=self.idle)
                except Empty:
                    if me not in waiting:
                        # Called at the very moment we gave up.
                        continue
                    _discard(waiting, me)
                    alive.discard(me)
                    # A job that came before we were gone has found no one to call, and perhaps no room
                    # for one more thread.
                    if jobs.empty() or not self._enter(me, alive, self.limit):
                        if not self.idle:
                            self._rouse()
                        return
                    continue
                # Somebody else may have been called for it.
                _discard(waiting, me)
            if job.dropped:
                del job
                continue
            job.begun = True
            try:
                job.result = job.function(*job.args, **job.kwargs)
            except BaseException as exc:
                job.error = exc
            finished = job.waiter
            del job
            finished.wake()
            del finished


def _discard(waiting: deque[object], me: object) -> None:
    try:
        waiting.remove(me)
    except ValueError:
        # Whoever has called us has taken it out.
        pass


def _await_beginning() -> None:
    # A thread that begins while the interpreter is taken apart crashes the process (seen on CPython 3.10).
    while any(generation == waiters.generation for generation, _ in tuple(_starting)):
        _native_sleep(0.0005)


atexit.register(_await_beginning)

default_workers = Workers()

#: For the look-ups of names alone: one that nobody answers takes its thread for half a minute, and must not
#: keep others from theirs.  Threads that have nothing to do end after ten seconds, as in every pool.
lookup_workers = Workers(limit=128, prompt=16)
