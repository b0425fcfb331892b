"""The native thread that makes reports and hands them on, so that whoever looks need not wait for that."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from greenify.core import waiters
from greenify.core.native import forget_name, start_hidden
from greenify.core.ticker import native_lock
from greenify.watching.looking import Stay

__all__ = ["Teller"]


class Teller:
    """Calls ``tell(stay)`` for each stay, in their order, on a native thread that ends when there is none.

    Args:
        tell: may take long, and may wait.
    """

    def __init__(self, tell: Callable[[Stay], object]) -> None:
        self._tell = tell
        self._todo: deque[Stay] = deque()
        self._running: Any = native_lock()
        self._generation = waiters.generation

    def add(self, stay: Stay) -> None:
        """From any thread; returns at once."""
        if self._generation != waiters.generation:
            # In a child of a fork: the thread is not there, and what the parent has seen is the parent's.
            self._todo.clear()
            self._running = native_lock()
            self._generation = waiters.generation
        self._todo.append(stay)
        self._start()

    def _start(self) -> None:
        # Whoever gets the lock runs; who ends looks once more when it has given it back.
        if self._todo and self._running.acquire(False):
            try:
                start_hidden(self._run, signals=True)  # the callback is the program's
            except RuntimeError:
                self._running.release()  # there is no thread to be had: the next one tells of this, too

    def _run(self) -> None:
        try:
            while self._todo:
                stay = self._todo.popleft()
                try:
                    self._tell(stay)
                except Exception:
                    logging.getLogger("greenify").exception("error in the callback of a watch")
        finally:
            # logging asks for the current thread.
            forget_name()
            self._running.release()
        self._start()

    def flush(self, patience: float) -> None:
        """Wait until everything has been told, for `patience` seconds at most.  Any thread."""
        if self._generation == waiters.generation and self._running.acquire(True, patience):
            self._running.release()
            self._start()
