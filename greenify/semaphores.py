"""Semaphore and BoundedSemaphore for greenlets and OS threads alike.

They are locks with several tokens: `tokens` explains how these change hands, why a newcomer may be served
before somebody who waits, and for how long it can be so.
"""

from __future__ import annotations

from typing import Any

from greenify.deadlines import deadline_after
from greenify.tokens import _Token

__all__ = ["BoundedSemaphore", "Semaphore"]


class _Permits(bytearray):
    """A box of tokens, of one byte each: a semaphore may have millions.  As atomic as a list."""

    __slots__ = ()

    def append(self, token: object) -> None:
        super().append(0)


class Semaphore(_Token):
    """A number of permits, with the interface of `threading.Semaphore`.

    Any thread may acquire and any release.  It may also be released in a finaliser or a signal handler.

    Args:
        value: how many permits there are at first.

    Raises:
        ValueError: `value` is negative.
    """

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__()
        box: Any = _Permits(value)
        self._box = box
        self._take = box.pop

    @property
    def _value(self) -> int:
        return len(self._box)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take one permit, waiting for it if need be.

        Args:
            blocking: False to return at once.
            timeout: seconds to wait at most, None for no limit.

        Returns:
            Whether a permit was taken.

        Raises:
            ValueError: a time-out for a call that does not block.
            OverflowError: a time-out above `threading.TIMEOUT_MAX`.
        """
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        try:
            self._take()
            return True
        except IndexError:
            pass
        if not blocking or (timeout is not None and timeout <= 0):
            return False
        return self._wait_for_token(deadline_after(timeout))

    def __enter__(self) -> bool:
        return self.acquire()

    def release(self, n: int = 1) -> None:
        """Give back `n` permits and wake as many waiters.  Any thread may call it.

        Raises:
            ValueError: `n` is less than one.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        for _ in range(n):
            self._put_back()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self._turns.clear()

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__} at {id(self):#x}: value={self._value}>"


class BoundedSemaphore(Semaphore):
    """A `Semaphore` that is never released more often than it was acquired.

    Args:
        value: how many permits there are at first, and at most.

    Raises:
        ValueError: `value` is negative.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value
        # One for each permit that somebody holds.  Taking one out is the check, and atomic.
        self._held = _Permits()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take one permit; `blocking` and `timeout` are as of `Semaphore.acquire`."""
        taken = super().acquire(blocking, timeout)
        if taken:
            self._held.append(None)
        return taken

    def release(self, n: int = 1) -> None:
        """Give back `n` permits and wake as many waiters.

        Raises:
            ValueError: `n` is less than one, or there would be more permits than at first; then nothing is
                given back.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        for number in range(n):
            try:
                self._held.pop()
            except IndexError:
                for _ in range(number):
                    self._held.append(None)
                raise ValueError("Semaphore released too many times") from None
        super().release(n)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}/{self._initial_value}>"
