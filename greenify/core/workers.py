"""Native threads for calls that cannot be made cooperative (resolvers, opaque C code, regular files).

The pool grows to its limit only while calls wait for a thread, and an idle thread ends by itself, so a
program that never resolves a name has no second thread.  `greenify.green._foreign` says which calls run on
which pool.
"""

from __future__ import annotations

import gc
from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from greenify.core import waiters
from greenify.core.clock import monotonic as _monotonic
from greenify.core.native import (
    NativeThread,
    callers_mask,
    current_native,
    forget_name,
    set_mask,
    start_hidden,
)
from greenify.core.registry import current_hub, get_hub, is_main_thread
from greenify.core.tracebacks import worker_codes
from greenify.core.waiters import HubWaiter

__all__ = ["Workers", "default_workers", "lookup_workers"]

T = TypeVar("T")

# How many seconds a call waits for a thread before one is started for it beyond `Workers.prompt`.
_PATIENCE = 0.02


class _Nobody:
    """Waits for the end of no job."""

    __slots__ = ()

    def wake(self) -> None:
        pass


class _Job:
    __slots__ = (
        "args",
        "begun",
        "dropped",
        "error",
        "function",
        "kwargs",
        "mask",
        "result",
        "waiter",
    )

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
        self.mask: set[int] | None = None  # the signals that are blocked meanwhile, if others
        self.begun = False
        self.dropped = False  # nobody wants it any more
        self.result: Any = None
        self.error: BaseException | None = None


# Has a thread look around.
_LOOK = _Job(_Nobody(), _Nobody, (), {})
_LOOK.dropped = True
# Whoever takes it ends as soon as there is nothing to do.
_LEAVE = _Job(_Nobody(), _Nobody, (), {})


class _Worker(NativeThread):
    """A thread of a pool.

    Attributes:
        inbox: what it has been called for while it was idle.
    """

    __slots__ = ("inbox",)

    def __init__(self, pool: Workers) -> None:
        self.inbox: SimpleQueue[_Job] = SimpleQueue()
        super().__init__(partial(_dismiss, pool, self.inbox))


def _dismiss(pool: Workers, inbox: SimpleQueue[_Job]) -> bool:
    """Have a thread end, before a fork; False if it is to stay.  The next call finds or starts another."""
    if pool.idle is None:
        return False
    inbox.put(_LEAVE)
    return True


class Workers:
    """A pool of native threads.  Any thread may use it, a signal handler or a finaliser at any moment.

    It therefore has no lock: everything shared is changed by single operations of C types.

    Args:
        limit: the largest number of threads; further calls wait for one of them.
        idle: seconds after which a thread without work ends; None if only `dismiss` ends it.
        prompt: how many threads are started as soon as there is work for them.  Beyond, one is started for a
            call that has waited for 20 ms: the calls are slow, and no burst of quick ones.  By default all.
        hidden: they are greenify's own, and the program shall not find them among its threads.
    """

    def __init__(
        self,
        limit: int = 16,
        idle: float | None = 10.0,
        prompt: int | None = None,
        *,
        hidden: bool = False,
    ) -> None:
        self.limit = limit
        self.idle = idle
        self.prompt = prompt
        self.hidden = hidden
        self._reset()

    def _reset(self) -> None:
        # Also in a forked child, which has none of the parent's threads.
        self._generation = waiters.generation
        # What no idle thread was there for.
        self._jobs: deque[_Job] = deque()
        # Each thread is in one of them while it lives, in the other while it is idle and nobody has called
        # it.  Who calls it takes it out and puts the job into its inbox: from one queue for all another
        # thread might take that, and the idle one would be forgotten, and one more started for the next job.
        self._alive: set[_Worker] = set()
        self._idle: deque[_Worker] = deque()

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._alive) if self._generation == waiters.generation else 0

    def here(self) -> bool:
        """Whether the caller runs on one of its threads: in a call, or in a finaliser between two."""
        me = current_native()
        return me in self._alive and self._generation == waiters.generation

    def resize(self, limit: int) -> None:
        """Change the largest number of threads.  Surplus ones end, when their calls have ended.

        Raises:
            ValueError: `limit` is not positive.
        """
        if limit < 1:
            raise ValueError("there has to be one thread at least")
        self.limit = limit
        if self._generation == waiters.generation:
            for _ in range(len(self._jobs)):
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
        if len(self._alive) > (0 if self.idle == 0 else self.limit):
            self._call(_LOOK)

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
        if self.hidden:
            job.mask = callers_mask(function)
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
        """Call ``function(*args)`` on a native thread some time soon.  It must not raise.

        On a hidden thread signals are blocked meanwhile: see `callers_mask`.
        """
        self._submit(_Job(_Nobody(), function, args, {}))

    def _submit(self, job: _Job) -> None:
        if self._generation != waiters.generation:
            self._reset()
        if self._call(job):
            return
        self._jobs.append(job)
        # Who has become idle between the two lines has not seen it.
        if self._call(_LOOK):
            return
        limit = self.limit if self.prompt is None else min(self.prompt, self.limit)
        try:
            self._add_thread(limit)
        except BaseException:
            if not self._alive:
                job.dropped = True
                raise
            # The threads that exist will come to it.

    def _call(self, job: _Job) -> bool:
        """Give it to an idle thread, if there is one."""
        try:
            self._idle.pop().inbox.put(job)
        except IndexError:
            return False
        return True

    def _add_thread(self, limit: int) -> None:
        # A finaliser in here could wait for a call on this very thread.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._start_thread(limit)
        finally:
            if collects:
                gc.enable()

    def _start_thread(self, limit: int) -> None:
        me = _Worker(self)
        alive = self._alive
        if not self._enter(me, alive, limit):
            return
        try:
            start_hidden(
                self._serve, me, alive, self._idle, self._jobs, hidden=self.hidden, thread=me
            )
        except BaseException:
            alive.discard(me)
            raise

    def _add_if_possible(self) -> None:
        try:
            self._add_thread(self.limit)
        except RuntimeError:
            # There is none to be had.  Those that exist will come to the call.
            pass

    def _enter(self, me: _Worker, alive: set[_Worker], limit: int) -> bool:
        while True:
            alive.add(me)
            if len(alive) <= limit:
                return True
            alive.discard(me)
            # Unless it was another one that was turned away because of us.
            if len(alive) >= limit:
                return False

    def _serve(
        self, me: _Worker, alive: set[_Worker], idle: deque[_Worker], jobs: deque[_Job]
    ) -> None:
        generation = waiters.generation
        leaving = False
        while True:
            if len(alive) > self.limit:
                # See `resize`.
                alive.discard(me)
                if not jobs or not self._enter(me, alive, self.limit):
                    self._rouse()
                    return
            try:
                job = jobs.popleft()
            except IndexError:
                if leaving:
                    alive.discard(me)
                    # A job that came before we were gone has found no one to call, and perhaps no room for
                    # one more thread.
                    if not jobs or not self._enter(me, alive, self.limit):
                        if self.idle == 0:
                            self._rouse()
                        return
                    continue
                idle.append(me)
                # One that came between the two lines has found nobody idle.
                if jobs and _discard(idle, me):
                    continue
                try:
                    job = me.inbox.get(timeout=self.idle)
                except Empty:
                    job = _LEAVE
                while job is _LEAVE:
                    leaving = True
                    if _discard(idle, me):
                        break
                    job = me.inbox.get()  # somebody has called it at the very moment
            if job is _LEAVE:
                continue
            if job.dropped:
                del job
                continue
            me.busy = True
            job.begun = True
            before = None if job.mask is None else set_mask(job.mask)
            try:
                job.result = job.function(*job.args, **job.kwargs)
            except BaseException as exc:
                job.error = exc
            if before is not None:
                set_mask(before)
            finished = job.waiter
            me.busy = False
            del job
            if generation != waiters.generation:
                return  # in the child of a fork in that call: the process ends with its only thread
            if self.hidden:
                forget_name()
            finished.wake()
            del finished


worker_codes.add(Workers._serve.__code__)


def _discard(idle: deque[_Worker], me: _Worker) -> bool:
    """Be idle no more; False if somebody is about to call us."""
    try:
        idle.remove(me)
    except ValueError:
        return False
    return True


default_workers = Workers(hidden=True)

#: For the look-ups of names alone: one that nobody answers takes its thread for half a minute, and must not
#: keep others from theirs.  Threads that have nothing to do end after ten seconds, as in every pool.
lookup_workers = Workers(limit=128, prompt=16, hidden=True)
