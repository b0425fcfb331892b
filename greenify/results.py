"""Future, wait, as_completed: those of `concurrent.futures`, cooperative in a process that is not patched."""

from __future__ import annotations

import concurrent.futures as native
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from concurrent.futures._base import DoneAndNotDoneFutures
from typing import Any, TypeVar

from greenify.condition import Condition
from greenify.core.clock import monotonic as _monotonic
from greenify.event import Event
from greenify.locks import deadline_after
from greenify.queue import Empty, SimpleQueue

__all__ = ["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "Future", "as_completed", "wait"]

T = TypeVar("T")


_Callback = Callable[[native.Future[Any]], object]


class Future(native.Future[T]):
    """A `concurrent.futures.Future` whose `result` and `exception` let the other tasks run while they wait.

    Any thread may call any method.  (`concurrent.futures.wait` and `as_completed` take it, too, but block the
    whole OS thread unless the process is patched: use those of this module.)
    """

    def __init__(self) -> None:
        super().__init__()
        # All that concurrent.futures waits with.
        condition: Any = Condition()
        self._condition = condition


def _remove(futures: Iterable[native.Future[Any]], callback: _Callback) -> None:
    """Undo ``add_done_callback(callback)``, for which there is no method."""
    for future in futures:
        inner: Any = future
        with inner._condition:
            if callback in inner._done_callbacks:
                inner._done_callbacks.remove(callback)


def wait(
    fs: Iterable[native.Future[T]],
    timeout: float | None = None,
    return_when: str = ALL_COMPLETED,
) -> DoneAndNotDoneFutures[T]:
    """Wait for futures; see `concurrent.futures.wait`.  A future that was cancelled is done at once.

    Args:
        fs: futures of any kind, greenify's or not.
        timeout: seconds to wait at most, None for no limit.
        return_when: ALL_COMPLETED, FIRST_COMPLETED, or FIRST_EXCEPTION: when one has failed or all are done.

    Returns:
        The sets ``done`` and ``not_done``.
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f"Invalid return condition: {return_when!r}")
    futures = set(fs)
    pending: set[native.Future[Any]] = set(futures)
    enough = Event()

    def ended(future: native.Future[Any]) -> None:
        pending.discard(future)
        if (
            not pending
            or return_when == FIRST_COMPLETED
            or (
                return_when == FIRST_EXCEPTION
                and not future.cancelled()
                and future.exception() is not None
            )
        ):
            enough.set()

    try:
        for future in futures:
            future.add_done_callback(ended)
        if futures:
            enough.wait(timeout)
    finally:
        _remove(pending, ended)
    done = {future for future in futures if future.done()}
    return DoneAndNotDoneFutures(done, futures - done)


def as_completed(
    fs: Iterable[native.Future[T]], timeout: float | None = None
) -> Iterator[native.Future[T]]:
    """Yield futures as they are done; see `concurrent.futures.as_completed`.

    Args:
        fs: futures of any kind, greenify's or not; each is yielded once.
        timeout: seconds from now until the last one, None for no limit.

    Raises:
        TimeoutError: that of `concurrent.futures`, when the time is up.
    """
    deadline = deadline_after(timeout)
    return _as_completed(set(fs), deadline)


def _as_completed(
    futures: set[native.Future[T]], deadline: float | None
) -> Iterator[native.Future[T]]:
    finished: SimpleQueue[native.Future[T]] = SimpleQueue()
    total = len(futures)
    callback = finished.put  # one object, for `_remove`
    try:
        for future in futures:
            future.add_done_callback(callback)
        while futures:
            remaining = None if deadline is None else max(0.0, deadline - _monotonic())
            try:
                future = finished.get(timeout=remaining)
            except Empty:
                raise native.TimeoutError(
                    f"{len(futures)} (of {total}) futures unfinished"
                ) from None
            futures.discard(future)
            yield future
            del future  # the caller may want it freed
    finally:
        _remove(futures, callback)
