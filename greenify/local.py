"""Thread-local data for greenlets and OS threads.

The values of one `local` live in one dictionary per thread, kept by the local itself under the greenlet
that stands for the thread.  So they go with the local; and when a thread ends, `forget_thread` drops its
entry from every local that it has touched.
"""

from __future__ import annotations

import _thread
import weakref
from typing import Any

from greenlet import getcurrent, greenlet

from greenify.identity import current_thread_greenlet

__all__ = ["forget_thread", "local"]

_MISSING = object()


class _Touched(list[Any]):
    """Weak references to the locals that one native thread has touched; dies with the thread."""

    owner: greenlet

    def __del__(self) -> None:
        _drop(self.owner, self)


_native = _thread._local()


def _drop(owner: greenlet, touched: list[Any]) -> None:
    for reference in touched:
        found = reference()
        if found is not None:
            _dicts_of(found).pop(owner, None)


def forget_thread(thread: Any) -> None:
    """Free everything that `thread`, a greenlet with the attribute ``locals``, keeps in locals."""
    touched = thread.locals
    if touched:
        thread.locals = None
        _drop(thread, touched)


class local:
    """An object whose attributes are separate for every thread; see `threading.local`.

    A subclass's ``__init__`` is called with the same arguments in each thread that uses the object.
    """

    __slots__ = ("__weakref__", "_greenify_args", "_greenify_dicts")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        _set_args(self, (args, kwargs))
        _set_dicts(self, {})
        # Python calls __init__ for the creating thread itself.
        _register(self)
        return self

    def __getattribute__(self, name: str) -> Any:
        dicts = _dicts_of(self)
        try:
            return dicts[getcurrent()][name]
        except KeyError:
            values = _values(self)
        if name in values:
            return values[name]
        if name == "__dict__":
            return values
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = getattr(type(self), name, _MISSING)
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        values = _values(self)
        if kind is not _MISSING and hasattr(type(kind), "__set__"):
            object.__setattr__(self, name, value)
        else:
            values[name] = value

    def __delattr__(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        values = _values(self)
        kind = getattr(type(self), name, _MISSING)
        if kind is not _MISSING and hasattr(type(kind), "__delete__"):
            object.__delattr__(self, name)
        elif name in values:
            del values[name]
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *_values(self)})


_dicts_of = local.__dict__["_greenify_dicts"].__get__
_set_dicts = local.__dict__["_greenify_dicts"].__set__
_args_of = local.__dict__["_greenify_args"].__get__
_set_args = local.__dict__["_greenify_args"].__set__


def _register(self: local) -> dict[str, Any]:
    thread: Any = current_thread_greenlet()
    values: dict[str, Any] = {}
    _dicts_of(self)[thread] = values
    try:
        touched = thread.locals
        if touched is None:
            touched = thread.locals = []
    except AttributeError:
        # A main greenlet, or a native thread: cleared when the OS thread ends.
        try:
            touched = _native.touched
        except AttributeError:
            touched = _native.touched = _Touched()
            touched.owner = thread
    touched.append(weakref.ref(self))
    return values


def _values(self: local) -> dict[str, Any]:
    """The calling thread's dictionary, made (and ``__init__`` run) at its first use."""
    dicts = _dicts_of(self)
    values: dict[str, Any] | None = dicts.get(getcurrent())
    if values is None:
        thread = current_thread_greenlet()
        values = dicts.get(thread)
        if values is None:
            values = _register(self)
            kind = type(self)
            if kind.__init__ is not object.__init__:
                args, kwargs = _args_of(self)
                try:
                    kind.__init__(self, *args, **kwargs)
                except BaseException:
                    dicts.pop(thread, None)
                    raise
    return values
