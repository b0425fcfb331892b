"""What `loop.run_callback` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent._interfaces import ICallback
from zope.interface import implementer

__all__ = ["callback"]


@implementer(ICallback)
class callback:
    """A function that the loop is going to call once.

    It is true until the function has returned, and `pending` until it is called.
    """

    __slots__ = ("args", "callback")

    def __init__(
        self, callback: Callable[..., object] | None, args: tuple[Any, ...] | None
    ) -> None:
        self.callback = callback
        self.args = args

    def stop(self) -> None:
        """Do not call the function, if it has not been called yet.  Any OS thread."""
        self.callback = None
        self.args = None

    close = stop

    def __bool__(self) -> bool:
        return self.args is not None

    @property
    def pending(self) -> bool:
        """Whether the function is still to be called."""
        return self.callback is not None

    def _format(self) -> str:
        return ""

    def __repr__(self) -> str:
        parts = [f"<{type(self).__name__} at {id(self):#x}"]
        if self.pending:
            parts.append(f"pending callback={self.callback!r}")
        if self.args is not None:
            parts.append(f"args={self.args!r}")
        elif self.callback is None:
            parts.append("stopped")
        return " ".join(parts) + ">"
