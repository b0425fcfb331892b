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
from greenify.pickling import refuse_to_pickle

__all__ = ["forget_native_thread", "forget_thread", "local"]

_MISSING = object()


# A destructor that runs when a thread's values are freed may use thread-local data again.
_ROUNDS = 4


class _Touched:
    """The locals that one thread has touched, by weak references."""

    __slots__ = ("_limit", "_references", "owner")

    def __init__(self, owner: greenlet) -> None:
        self.owner = owner
        self._references: list[weakref.ref[local]] = []
        self._limit = 64

    def add(self, touched: local) -> None:
        """Remember one more; the dead ones go when their number may have doubled."""
        references = self._references
        if len(references) >= self._limit:
            references[:] = [reference for reference in references if reference() is not None]
            self._limit = max(64, 2 * len(references))
        references.append(weakref.ref(touched))

    def drop(self) -> None:
        """Free the thread's values in all of them."""
        references, self._references = self._references, []
        for reference in references:
            found = reference()
            if found is not None:
                _dicts_of(found).pop(self.owner, None)


class _NativeTouched(_Touched):
    """That of a thread which is not one of ours: dies with the thread."""

    __slots__ = ()

    def __del__(self) -> None:
        self.drop()


_native = _thread._local()


def forget_thread(thread: Any) -> None:
    """Free everything that `thread`, a greenlet with the attribute ``locals``, keeps in locals."""
    for _ in range(_ROUNDS):
        touched = thread.locals
        if touched is None:
            return
        thread.locals = None
        touched.drop()


def _class_attribute(cls: type[Any], name: str) -> Any:
    """What the class has under `name`, without running any descriptor."""
    for base in cls.__mro__:
        found = vars(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return _MISSING


def forget_native_thread() -> None:
    """Free everything that the calling native thread, which is about to end, keeps in locals."""
    for _ in range(_ROUNDS):
        touched = vars(_native).pop("touched", None)
        if touched is None:
            return
        touched.drop()


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
        except (KeyError, RuntimeError):  # the latter while the interpreter is finalised
            values = _values(self)
        if name in values:
            return values[name]
        if name == "__dict__":
            return values
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            known = _dicts_of(self)[getcurrent()]
            if name in known:
                # No descriptor: asking the classes again would cost three times as much (460 ns).
                known[name] = value
                return
        except (KeyError, RuntimeError, TypeError):
            # The first use in this thread; the interpreter is being finalised; a name without a hash.
            pass
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        if not isinstance(name, str):
            object.__setattr__(self, name, value)  # raises TypeError
        values = _values(self)
        kind = _class_attribute(type(self), name)
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
        kind = _class_attribute(type(self), name)
        if kind is not _MISSING and hasattr(type(kind), "__delete__"):
            object.__delattr__(self, name)
        elif name in values:
            del values[name]
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *_values(self)})

    __reduce_ex__ = refuse_to_pickle


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
            touched = thread.locals = _Touched(thread)
    except AttributeError:
        # A main greenlet, or a native thread: cleared when the OS thread ends.
        try:
            touched = _native.touched
        except AttributeError:
            touched = _native.touched = _NativeTouched(thread)
    touched.add(self)
    return values


def _values(self: local) -> dict[str, Any]:
    """The calling thread's dictionary, made (and ``__init__`` run) at its first use."""
    dicts = _dicts_of(self)
    try:
        values: dict[str, Any] | None = dicts.get(getcurrent())
    except RuntimeError:  # the interpreter is being finalised
        values = None
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
