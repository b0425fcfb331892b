"""Classes in C of drivers, whose methods wait: what takes their place runs those on the connection's thread.

A class in C cannot be changed in place.  One that can be derived from gets a subclass (`derived`), which
stands for it in its module; one that cannot is wrapped (`Wrapped`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from greenify.green._foreign import OwnThread
from greenify.libraries.remedies import like

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["Wrapped", "derived", "rebase"]


def derived(base: type, namespace: Mapping[str, Any], bases: tuple[type, ...] = ()) -> Any:
    """A subclass of `base` that passes for it: its name, its module, its documentation, its attributes.

    Without a dictionary it has the layout of `base`, so that `rebase` can do its work.
    """
    members = {
        "__slots__": (),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        **namespace,
    }
    return type(base)(base.__name__, (*bases, base), members)


def rebase(journal: Journal, name: str, original: type, twin: type) -> None:
    """Let the classes that have been derived from `original` before the patch derive from `twin`.

    Args:
        journal: has it undone.
        name: of the patch.
    """
    subclass: Any
    for subclass in original.__subclasses__():
        if subclass is twin or twin in subclass.__mro__:
            continue
        before = subclass.__bases__
        try:
            subclass.__bases__ = tuple(twin if base is original else base for base in before)
        except TypeError:
            continue  # one in C, or of another layout

        def undo(subclass: Any = subclass, before: Any = before) -> None:
            subclass.__bases__ = before

        journal.on_undo(undo, name)


class Wrapped:
    """Stands for an object of a class in C that cannot be derived from: its attributes are that one's.

    The methods named in `_waiting` run on the native thread.
    """

    _waiting: frozenset[str] = frozenset()
    # A method that ends the call that is under way, for a caller that is killed.
    _interrupt: Callable[[], Any] | None = None
    _inner: Any
    _thread: OwnThread

    def __init__(self, inner: Any, thread: OwnThread | None = None) -> None:
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_thread", OwnThread() if thread is None else thread)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name in self._waiting:
            return like(value, partial(_call, self, value))
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._thread.call(setattr, self._inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._inner, name)

    def __dir__(self) -> list[str]:
        return dir(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)

    def _wrap(self, value: Any) -> Any:
        """What a method has returned, for the user."""
        return value


def _call(wrapped: Wrapped, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    thread = wrapped._thread
    if wrapped._interrupt is None:
        return wrapped._wrap(thread.call(method, *args, **kwargs))
    return wrapped._wrap(thread.call_interruptibly(wrapped._interrupt, method, *args, **kwargs))
