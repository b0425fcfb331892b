"""What `loop.run_callback` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent._interfaces import ICallback
from zope.interface import implementer

__all__ = ["callback"]


@implementer(ICallback)
class callback(list[Any]):
    """A function that the loop is going to call once: ``callback((function, arguments))``.

    It is true until the function has returned, and `pending` until it is called.

    A list, for what gevent does with one is then done in C: it stops the callback that starts a greenlet in
    that greenlet, where the first call of a Python function costs 10 us (the interpreter maps memory for its
    frames).
    """

    __slots__ = ()

    #: Do not call the function, if it has not been called yet.  Any OS thread.
    stop = list.clear
    close = list.clear

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def callback(self) -> Callable[..., object] | None:
        """The function, or None once it is called or stopped."""
        return self[0] if self else None

    @property
    def args(self) -> tuple[Any, ...] | None:
        """Its arguments, or None once it has returned or was stopped."""
        return self[1] if self else None

    @property
    def pending(self) -> bool:
        """Whether the function is still to be called."""
        return bool(self) and self[0] is not None

    def _format(self) -> str:
        return ""

    def __repr__(self) -> str:
        parts = [f"<{type(self).__name__} at {id(self):#x}"]
        if self.pending:
            parts.append(f"pending callback={self.callback!r}")
        if self:
            parts.append(f"args={self.args!r}")
        else:
            parts.append("stopped")
        return " ".join(parts) + ">"
