"""Real threads, for what cannot be made cooperative: reading big files, C code that blocks or computes.

    data = greenify.run_in_thread(path.read_bytes)

    with greenify.NativeThreadPoolExecutor(4) as pool:
        future = pool.submit(compress, data)

In a patched process `concurrent.futures.ThreadPoolExecutor` runs green threads.  What is here runs native
ones, and whoever waits for them lets the green threads run.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar
from weakref import WeakSet

from greenify.core.fork import fork_hooks
from greenify.core.workers import Workers, default_workers

__all__ = ["NativeThreadPoolExecutor", "run_in_thread"]

T = TypeVar("T")


def run_in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call ``function(*args, **kwargs)`` on a native thread and wait for its end cooperatively.

    The other green threads run meanwhile.  The native threads (16 at most, the same that resolve names) are
    started when they are needed and end by themselves.  Any thread may call it; an OS thread without green
    threads calls the function directly.

    Args:
        function: what blocks or computes, and may be called in another thread.

    Returns:
        What the function returns.  What it raises is raised here.  When the caller is interrupted (a signal
        handler that raises, a kill), the call goes on and its outcome is dropped.
    """
    return default_workers.run(function, *args, **kwargs)


class NativeThreadPoolExecutor(Executor):
    """A `concurrent.futures.Executor` whose threads are native, in a patched process too.

    Its futures are `concurrent.futures.Future` objects: `wait`, `as_completed` and asyncio's
    ``run_in_executor`` take them.  In a patched process waiting for one parks the calling green thread.  Any
    thread may call any method.  The end of the program waits for what has been submitted.

    Args:
        max_workers: the largest number of threads, by default a few more than there are processors, and 32
            at most.  They are started when they are needed, and an idle one ends after some seconds.

    Raises:
        ValueError: `max_workers` is not positive.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._workers = Workers(max_workers)
        self._pending: set[Future[Any]] = set()
        self._shut_down = False
        _executors.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called by one of the threads.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        for futures in (self._pending, _unfinished):
            futures.add(future)
            future.add_done_callback(futures.discard)
        try:
            self._workers.start(_run, future, fn, args, kwargs)
        except BaseException:
            future.cancel()
            raise
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: return only when all calls have ended.
            cancel_futures: cancel the calls that no thread has begun.
        """
        self._shut_down = True
        pending = tuple(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            _wait(pending)


_wait = wait
_executors: WeakSet[NativeThreadPoolExecutor] = WeakSet()
_unfinished: set[Future[Any]] = set()


def _run(future: Future[Any], function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*args, **kwargs)
    except BaseException as exc:
        future.set_exception(exc)
        del future  # the traceback holds this frame
    else:
        future.set_result(result)


@atexit.register
def _wait_at_exit() -> None:
    _wait(tuple(_unfinished))


def _after_in_child() -> None:
    # Their threads are the parent's.
    _unfinished.clear()
    for executor in _executors:
        executor._workers._reset()
        executor._pending.clear()


fork_hooks.append(_after_in_child)
