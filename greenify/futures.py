"""Executors: calls that run in tasks, native threads or other processes, and their futures.

    data = greenify.run_in_thread(path.read_bytes)

    with greenify.ThreadPoolExecutor(4) as pool:
        for future in as_completed([pool.submit(compress, data) for data in pieces]):
            ...

Whoever waits for a future of theirs lets the other green threads run, in a patched process or not.  In a
patched process `concurrent.futures.ThreadPoolExecutor` runs green threads; the threads of the one here are
always native.
"""

from __future__ import annotations

import _thread
import atexit
import concurrent.futures as native
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from itertools import count
from typing import Any, TypeVar
from weakref import WeakSet

from greenlet import GreenletExit

from greenify import core
from greenify.core.fork import fork_hooks
from greenify.core.workers import Workers, default_workers
from greenify.results import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
    as_completed,
    wait,
)
from greenify.task import Task

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Future",
    "NativeThreadPoolExecutor",
    "ProcessPoolExecutor",
    "TaskPoolExecutor",
    "ThreadPoolExecutor",
    "as_completed",
    "run_in_thread",
    "set_thread_limit",
    "wait",
]

T = TypeVar("T")

_BROKEN = "A thread initializer failed, the thread pool is not usable anymore"
_native_local = _thread._local
_numbers = count()
_wait = wait


def run_in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call ``function(*args, **kwargs)`` on a native thread and wait for its end cooperatively.

    The other green threads run meanwhile.  The native threads (16 at most, unless `set_thread_limit` says
    otherwise; the same that resolve names) are started when they are needed and end by themselves.  Any
    thread may call it; an OS thread without green threads calls the function directly.

    Args:
        function: what blocks or computes, and may be called in another thread.

    Returns:
        What the function returns.  What it raises is raised here.  When the caller is interrupted (a signal
        handler that raises, a kill), the call goes on and its outcome is dropped.
    """
    return default_workers.run(function, *args, **kwargs)


def set_thread_limit(limit: int) -> int:
    """Set how many native threads `run_in_thread` and `greenify.files` use at most.

    It counts at once, also for calls that wait for a thread now.  Threads above a lower limit end when their
    calls have ended.  Any thread may call it.

    Args:
        limit: a number of threads, 16 at first.

    Returns:
        The limit until now.

    Raises:
        ValueError: `limit` is not positive.
    """
    before = default_workers.limit
    default_workers.resize(limit)
    return before


class _Executor(native.Executor):
    """What the executors share: which futures are under way, and the end."""

    def __init__(self) -> None:
        self._pending: set[Future[Any]] = set()
        self._shut_down = False
        _executors.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called, and return its future.  Any thread may submit; it never waits.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        try:
            self._start(future, partial(fn, *args, **kwargs))
        except BaseException:
            future.cancel()
            raise
        return future

    def _start(self, future: Future[T], call: Callable[[], T]) -> None:
        raise NotImplementedError

    def _forked(self) -> None:
        """In the child: what was under way is so in the parent."""
        self._pending.clear()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: return only when all calls have ended.
            cancel_futures: cancel the calls that have not begun.
        """
        self._shut_down = True
        pending = tuple(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            _wait(pending)


class TaskPoolExecutor(_Executor):
    """A `concurrent.futures.Executor` whose calls run in tasks, on the hub of the OS thread that made it.

    Any thread may call any method.  The tasks are started when they are needed, and end when there is nothing
    to do.  The end of the program does not wait for them: use the executor in a ``with`` block, or call
    `shutdown`.

    Args:
        max_workers: how many calls run at the same time.

    Raises:
        ValueError: `max_workers` is not positive.
    """

    def __init__(self, max_workers: int = 100) -> None:
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        super().__init__()
        self._hub = core.get_hub()
        self._limit = max_workers
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        # One for each task that may be started.  Taking one out is atomic: a time slice may end anywhere.
        self._free: list[None] = [None] * max_workers

    def _start(self, future: Future[T], call: Callable[[], T]) -> None:
        self._calls.append((future, call))
        if self._hub.abandoned:
            self._hub = core.get_hub()  # since a fork
        if self._hub.foreign():
            self._hub.call_from_thread(self._add_task)
        else:
            self._add_task()

    def _add_task(self) -> None:
        try:
            self._free.pop()
        except IndexError:
            return
        Task(self._work, name=f"{type(self).__name__}-{next(_numbers)}").start()

    def _work(self) -> None:
        try:
            while True:
                try:
                    future, call = self._calls.popleft()
                except IndexError:
                    return
                _run(future, call)
                del future, call  # not to be kept while the next one runs
        finally:
            self._free.append(None)
            if self._calls:
                # Submitted after the last look, when there was no free one; or this task was killed.
                self._add_task()

    def _forked(self) -> None:
        super()._forked()
        self._calls.clear()
        self._free[:] = [None] * self._limit


class NativeThreadPoolExecutor(_Executor):
    """A `concurrent.futures.Executor` whose threads are native, in a patched process too.

    Its futures are `concurrent.futures.Future` objects: `wait`, `as_completed` and asyncio's
    ``run_in_executor`` take them.  Waiting for one lets the other green threads run.  Any thread may call any
    method.  The end of the program waits for what has been submitted.

    Args:
        max_workers: the largest number of threads, by default a few more than there are processors, and 32
            at most.  They are started when they are needed, and an idle one ends after some seconds.
        thread_name_prefix: how the names of the threads begin.
        initializer: called in each thread before its first call.  When it fails, every call that has not
            begun, and every later `submit`, fails with `BrokenThreadPool`.
        initargs: the arguments of `initializer`.

    Raises:
        ValueError: `max_workers` is not positive.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        super().__init__()
        self._workers = Workers(max_workers)
        self._prefix = thread_name_prefix
        self._thread_numbers = count()
        self._initializer = initializer
        self._initargs = initargs
        self._thread: Any = _native_local()
        self._broken = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called by one of the threads, and return its future.

        Any thread may submit; it never waits.

        Raises:
            RuntimeError: after `shutdown`; `BrokenThreadPool`: the initializer has failed.
        """
        if self._broken:
            raise BrokenThreadPool(_BROKEN)
        return super().submit(fn, *args, **kwargs)

    def _start(self, future: Future[T], call: Callable[[], T]) -> None:
        _unfinished.add(future)
        future.add_done_callback(_unfinished.discard)
        self._workers.start(self._run, future, call)

    def _run(self, future: Future[T], call: Callable[[], T]) -> None:
        # On one of the native threads.
        if not hasattr(self._thread, "begun"):
            self._thread.begun = True
            if self._prefix:
                threading.current_thread().name = f"{self._prefix}_{next(self._thread_numbers)}"
            try:
                if self._initializer is not None:
                    self._initializer(*self._initargs)
            except BaseException:
                logging.getLogger("greenify").critical("exception in initializer:", exc_info=True)
                self._broken = True
        if not self._broken:
            _run(future, call)
        elif future.set_running_or_notify_cancel():
            future.set_exception(BrokenThreadPool(_BROKEN))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.  The threads end when there is nothing left to do.

        Args:
            wait: return only when all calls have ended.
            cancel_futures: cancel the calls that have not begun.
        """
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._workers.dismiss()

    def _forked(self) -> None:
        super()._forked()
        self._workers._reset()


class ThreadPoolExecutor(NativeThreadPoolExecutor):
    """`NativeThreadPoolExecutor` under the name, and with the signature, of the standard library.

    Args:
        max_workers, thread_name_prefix, initializer, initargs: as of `NativeThreadPoolExecutor`.
    """


class ProcessPoolExecutor(native.ProcessPoolExecutor):
    """`concurrent.futures.ProcessPoolExecutor`, whose futures and `shutdown` let the other tasks run.

    The arguments (`max_workers`, `mp_context`, `initializer`, `initargs` and, since CPython 3.11,
    `max_tasks_per_child`) are the same.  With the start method "fork" a child is a copy of a process with a
    hub and possibly native threads; ``mp_context=multiprocessing.get_context("forkserver")`` avoids that.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called in one of the processes; all of them are pickled.

        Raises:
            RuntimeError: after `shutdown`; `BrokenProcessPool`: a process has died.
        """
        inner: native.Future[T] = super().submit(fn, *args, **kwargs)
        return _Outer(inner)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the processes when those that were submitted have ended.

        Args:
            wait: return only when that is so.
            cancel_futures: cancel the calls that have not begun.
        """
        # It joins a thread.
        end = partial(super().shutdown, wait, cancel_futures=cancel_futures)
        if wait:
            default_workers.run(end)
        else:
            end()


class _Outer(Future[T]):
    """A cooperative future that stands for one of another kind."""

    def __init__(self, inner: native.Future[T]) -> None:
        super().__init__()
        self._inner = inner
        inner.add_done_callback(self._copy)

    def cancel(self) -> bool:
        return self._inner.cancel()

    def running(self) -> bool:
        return self._inner.running()

    def _copy(self, inner: native.Future[T]) -> None:
        if inner.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif (error := inner.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(inner.result())


_executors: WeakSet[_Executor] = WeakSet()
_unfinished: set[Future[Any]] = set()


def _run(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:
        future.set_exception(exc)
        collected = isinstance(exc, GreenletExit)
        del future, call  # the traceback holds this frame
        if collected:
            raise  # by the greenlet that is being collected
    else:
        future.set_result(result)


@atexit.register
def _wait_at_exit() -> None:
    _wait(tuple(_unfinished))


def _after_in_child() -> None:
    # Their threads are the parent's.
    _unfinished.clear()
    for executor in _executors:
        executor._forked()


fork_hooks.append(_after_in_child)
