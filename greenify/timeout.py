"""Timeout: an exception that arrives after a number of seconds, wherever the thread then waits."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from greenlet import getcurrent

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.entries import Throw
from greenify.core.timers import Entry
from greenify.core.tracebacks import hide_wait
from greenify.errors import HubError

__all__ = ["Timeout", "with_timeout"]

T = TypeVar("T")

_LONGEST: float = _thread.TIMEOUT_MAX
_MISSING: Any = object()


class Timeout(BaseException):
    """Raise in the current greenlet after `seconds`, unless `cancel` is called first.

    As a context manager it is started on entry and cancelled on exit::

        with Timeout(5):
            slow()

    Args:
        seconds: how long the thread may go on; 0 or less ends its next wait.  None, or more than
            `threading.TIMEOUT_MAX`, means never.
        exception: what is raised instead of the Timeout itself; False silences the Timeout at the end of
            its ``with`` block.

    Time-outs may be nested; each is an object of its own, so ``except Timeout as exc`` can tell whether `exc`
    is the one that it has started.

    It derives from BaseException, so that ``except Exception`` in the code it limits does not swallow it.
    Only waiting is interrupted: code that computes is not, as with every cooperative scheduler.  Start and
    cancel it in the thread that it limits.
    """

    def __init__(
        self,
        seconds: float | None = None,
        exception: BaseException | type[BaseException] | bool | None = None,
    ) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.exception = exception
        self._entry: Entry | None = None
        self._hub: core.Hub | None = None
        self._target: Any = None
        self._raised: BaseException | None = None  # what was thrown into a wait

    def __str__(self) -> str:
        if self.seconds is None:
            return "no time-out"
        return f"{self.seconds:g} second{'' if self.seconds == 1 else 's'}"

    @property
    def pending(self) -> bool:
        """Whether it has been started and neither fired nor been cancelled."""
        return self._entry is not None

    def start(self) -> None:
        """Begin to count, for the calling thread.

        Raises:
            HubError: it counts already.
            ValueError: `seconds` is not a number.
        """
        if self._entry is not None:
            raise HubError(f"{self!r} has been started already: cancel it first, or make another")
        if self.seconds is None or self.seconds > _LONGEST:
            return
        if self.seconds != self.seconds:
            raise ValueError("invalid time-out: NaN (not a number)")
        self._target = getcurrent()
        self._hub = core.get_hub()
        self._entry = self._hub.timers.add(_monotonic() + max(0.0, self.seconds), self)

    def due(self) -> None:
        """Called by the hub when the time is up."""
        self._entry = None
        hub, target = self._hub, self._target
        if hub is None or target is None:
            return
        if self.exception is None or self.exception is True or self.exception is False:
            raised: BaseException = self
        elif isinstance(self.exception, type):
            raised = self.exception()
        else:
            raised = self.exception
        self._raised = raised
        hub.ready.append(Throw(target, raised, self))

    def cancel(self) -> None:
        """Stop counting.  Also takes back an exception that is on its way and has not arrived."""
        entry, self._entry = self._entry, None
        if entry is not None and self._hub is not None:
            self._hub.timers.cancel(entry)
        self._target = None
        raised, self._raised = self._raised, None
        if raised is not None:
            hide_wait(raised)

    def wanted(self) -> bool:
        """Whether an exception that is on its way shall still arrive."""
        return self._target is not None

    def __enter__(self) -> Timeout:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        self.cancel()
        return value is self and self.exception is False


def with_timeout(
    seconds: float | None,
    function: Callable[..., T],
    *args: Any,
    timeout_value: Any = _MISSING,
    **kwargs: Any,
) -> T:
    """Call ``function(*args, **kwargs)`` and give up after `seconds`.

    Args:
        seconds: as of `Timeout`.
        function: what is called, in the calling thread.
        timeout_value: returned when the time is up; without it the `Timeout` is raised.

    Returns:
        What the function returns, or `timeout_value`.

    Raises:
        Timeout: the time is up, and there is no `timeout_value`.
    """
    timeout = Timeout(seconds)
    timeout.start()
    try:
        return function(*args, **kwargs)
    except Timeout as exc:
        if exc is not timeout or timeout_value is _MISSING:
            raise
        value: T = timeout_value
        return value
    finally:
        timeout.cancel()
