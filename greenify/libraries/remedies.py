"""The remedies of `greenify.green._foreign` as data: each makes the twin of one function or method.

A twin has the name, the documentation and the kind of the original: one of a C function is no method when it
is stored in a class, and both are pickled by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType
from typing import Any

from greenify.green._copies.builtin import builtin_twin
from greenify.green._foreign import compute, hand_over, own_thread

__all__ = ["OnOwnThread", "computed", "handed_over", "instead", "like"]


def like(original: Any, twin: Any) -> Any:
    """`twin`, a Python function, under the names of `original` and of its kind."""
    for name in (*WRAPPER_ASSIGNMENTS, "__text_signature__"):
        value = getattr(original, name, None)
        if value is not None:
            try:
                setattr(twin, name, value)
            except TypeError:
                pass  # an object of C has something else there
    if isinstance(original, FunctionType):
        twin.__wrapped__ = original
    if isinstance(original, BuiltinFunctionType):
        return builtin_twin(original, twin)
    return twin


def handed_over(original: Callable[..., Any]) -> Any:
    """The call runs on a native thread: one without an object that others use, which waits (a connect)."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        return hand_over(original, *args, **kwargs)

    return like(original, twin)


def computed(original: Callable[..., Any]) -> Any:
    """The call runs on one of as many native threads as there are processors: one that computes for long."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        return compute(original, *args, **kwargs)

    return like(original, twin)


class OnOwnThread:
    """The method runs on the native thread of its object, or of what the object belongs to.

    Args:
        of: the attribute that leads to the object whose thread it is, with dots (``"connection"`` for a
            cursor's methods); by default the object itself.  It has to exist for good, and to have weak
            references.
        interrupt: ``interrupt(object)`` makes a call end sooner when its caller is killed or interrupted; see
            `OwnThread.call_interruptibly`.
    """

    def __init__(self, of: str = "", interrupt: Callable[[Any], object] | None = None) -> None:
        self._of = of
        self._owner: Callable[[Any], Any] = attrgetter(of) if of else _itself
        self._interrupt = interrupt

    def __repr__(self) -> str:
        return f"OnOwnThread({self._of!r})" if self._of else "OnOwnThread()"

    def __call__(self, original: Callable[..., Any]) -> Any:
        """The twin of a method."""
        owner = self._owner
        interrupt = self._interrupt

        def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            thread = own_thread(owner(self))
            if interrupt is None:
                return thread.call(original, self, *args, **kwargs)
            return thread.call_interruptibly(
                lambda: interrupt(self), original, self, *args, **kwargs
            )

        return like(original, twin)


def instead(twin: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of one's own in the place of the original, which it gets as its first argument."""

    def remedy(original: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            return twin(original, *args, **kwargs)

        return like(original, called)

    remedy.__qualname__ = twin.__qualname__
    remedy.__module__ = twin.__module__
    return remedy


def _itself(owner: Any) -> Any:
    return owner
