"""Twins of C functions that behave like C functions where Python tells the two kinds apart.

A Python function that is stored in a class becomes a method; a C function does not, and programs rely on it
(``class Clock: sleep = time.sleep``).  A Python function also has a ``__dict__``, which serialisers take for
the state of an object.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MethodType
from typing import Any

__all__ = ["BuiltinTwin", "Home", "bound_twin", "builtin_twin"]


class BuiltinTwin:
    """A callable in the place of the C function `native`, under its name; calls `function`."""

    # No reference to the native function: late patching would rewrite it.
    __slots__ = ("__wrapped__", "_names")

    def __new__(cls, native: Any, function: Callable[..., Any]) -> BuiltinTwin:
        # A class of its own, for its documentation and its module are looked up there.
        body = {"__slots__": (), "__doc__": native.__doc__, "__module__": native.__module__}
        made: BuiltinTwin = object.__new__(type(cls.__name__, (cls,), body))
        return made

    def __init__(self, native: Any, function: Callable[..., Any]) -> None:
        self._names = {
            name: getattr(native, name)
            for name in ("__name__", "__qualname__", "__text_signature__")
        }
        self.__wrapped__ = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name != "_names" and name in self._names:
            return self._names[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<cooperative function {self._names['__name__']}>"

    def __reduce__(self) -> str:
        # By name, as every function.
        name: str = self._names["__qualname__"]
        return name


class Home:
    """What the twin of a module's C function is bound to: stands for the module, which cannot be pickled."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<module {self._name!r}>"

    def __getattr__(self, name: str) -> Any:
        # `copy.copy` of a method looks it up.
        return getattr(import_module(self._name), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self._name,)

    def __deepcopy__(self, memo: object) -> Home:
        return self


def bound_twin(native: Any, function: Callable[..., Any]) -> MethodType:
    """The twin of a C function that is called all the time, or waited in: `function`, bound to its module.

    A bound method does not bind again, and the interpreter enters it without a C function in between, which
    would cost its call and, at every switch, the copying of its C stack (`time.sleep(0)`: 0.78 instead of
    0.62 us, 2,744 bytes of stack instead of 1,992).

    Args:
        native: the C function; its names, module and documentation are given to `function`.
        function: takes the module as its first argument, and the others by position only.  cloudpickle
            pickles it whole: none of its globals may be something that a patch replaces.
    """
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__text_signature__"):
        setattr(function, name, getattr(native, name))
    # xmlrpc.client sends whatever has a __dict__ as a structure; here it finds something that it cannot send.
    vars(function)["_unsendable"] = object()
    return MethodType(function, Home(native.__module__))


def builtin_twin(native: Any, function: Any) -> Any:
    """`function` as it should stand in the place of `native`: wrapped only if that is a C function."""
    if type(native) is not type(len) or isinstance(function, BuiltinTwin | MethodType):
        return function
    return BuiltinTwin(native, function)
