"""The buffered objects of `io` with a lock that tells greenlets apart.

A native one holds a C lock while it reads or writes, and takes a second greenlet of the same OS thread for a
re-entrant call of the first.  Those here are entered by one thread at a time, whatever is below them: a
pipe, the file object of a socket, a raw object of the user's.
"""

from __future__ import annotations

import io
import sys
from abc import ABCMeta
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from greenify.core.fork import fork_hooks
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.builtin import stands_for
from greenify.locks import RLock
from greenify.pickling import refuse_to_pickle

__all__ = [
    "CooperativeBufferedRWPair",
    "CooperativeBufferedRandom",
    "CooperativeBufferedReader",
    "CooperativeBufferedWriter",
    "StandIn",
    "known",
    "repr_as",
]

known: WeakSet[Any] = WeakSet()
"""All of them that exist."""


def _after_in_child() -> None:
    # Nobody holds their locks any more.
    for stream in known:
        stream._turn = RLock()
        stream._reading = RLock()


fork_hooks.append(_after_in_child)


class StandIn(ABCMeta):
    """The class of a class that takes its base's place: the base's instances count as its own.

    Nobody can change its attributes, as with every class of `_io`.  It derives from ABCMeta, for programs
    derive from the class and an abstract one at once.
    """

    def __new__(mcs, name: str, bases: Any, contents: dict[str, Any]) -> Any:
        # By the caller, not by ABCMeta, which is Python.
        contents.setdefault("__module__", sys._getframe(1).f_globals.get("__name__"))
        return super().__new__(mcs, name, bases, contents)

    def __setattr__(cls, name: str, value: object) -> None:
        cls._refuse_if_immutable(name)
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        cls._refuse_if_immutable(name)
        super().__delattr__(name)

    def _refuse_if_immutable(cls, name: str) -> None:
        if "_stands_in" in cls.__dict__:
            full_name = f"{cls.__module__}.{cls.__qualname__}"
            raise TypeError(f"cannot set {name!r} attribute of immutable type {full_name!r}")

    def __instancecheck__(cls, instance: object) -> bool:
        if "_stands_in" in cls.__dict__:
            return isinstance(instance, cls.__base__ or ())
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "_stands_in" in cls.__dict__:
            return issubclass(subclass, cls.__base__ or ())
        return super().__subclasscheck__(subclass)


def _in_turn(method: Callable[..., Any], turn: str = "_turn") -> Any:
    """`method`, entered by one thread at a time."""

    if turn == "_turn":

        def call(self: Any, *args: Any) -> Any:
            try:
                with self._turn:
                    return method(self, *args)
            except BaseException:
                leave_out_twin()
                raise

    else:

        def call(self: Any, *args: Any) -> Any:
            try:
                with getattr(self, turn):
                    return method(self, *args)
            except BaseException:
                leave_out_twin()
                raise

    return call


def repr_as(native: Any, self: Any) -> str:
    """What `self`, of a class that may stand in for `native`, is shown as."""
    shown: str = native.__repr__(self)
    # C shows the module's name for its own types only.
    prefix = f"<{native.__module__}."
    if "_stands_in" in type(self).__dict__ and not shown.startswith(prefix):
        return prefix + shown[1:]
    return shown


def _namespace(native: Any, names: str) -> dict[str, Any]:
    def __new__(cls: Any, *args: Any, **kwargs: Any) -> Any:
        self = native.__new__(cls)
        self._turn = self._reading = RLock()
        known.add(self)
        return self

    def __repr__(self: Any) -> str:
        return repr_as(native, self)

    return {
        "__new__": __new__,
        "__repr__": __repr__,
        "__reduce_ex__": refuse_to_pickle,
        **{name: _in_turn(getattr(native, name)) for name in names.split()},
    }


def _stand_in(native: Any, contents: dict[str, Any]) -> Any:
    made = stands_for(native)(StandIn(native.__name__, (native,), contents))
    # Only now: until then it is being made.
    type.__setattr__(made, "_stands_in", True)
    return made


_READS = "peek read read1 readinto readinto1"
_WRITES = "flush write"
_BOTH = "close detach seek tell"

CooperativeBufferedReader: Any = _stand_in(
    io.BufferedReader,
    _namespace(io.BufferedReader, f"{_BOTH} {_READS} readline __next__"),
)
CooperativeBufferedWriter: Any = _stand_in(
    io.BufferedWriter,
    _namespace(io.BufferedWriter, f"{_BOTH} {_WRITES} truncate"),
)
CooperativeBufferedRandom: Any = _stand_in(
    io.BufferedRandom,
    _namespace(io.BufferedRandom, f"{_BOTH} {_READS} readline __next__ {_WRITES} truncate"),
)


_Pair = io.BufferedRWPair


def _new_pair(cls: Any, *args: Any, **kwargs: Any) -> Any:
    self: Any = _Pair.__new__(cls)
    self._turn = RLock()
    self._reading = RLock()
    known.add(self)
    return self


# Its halves have a lock each: whoever waits for something to read keeps nobody from writing.
CooperativeBufferedRWPair: Any = _stand_in(
    _Pair,
    {
        **_namespace(_Pair, _WRITES),
        "__new__": _new_pair,
        **{name: _in_turn(getattr(_Pair, name), "_reading") for name in _READS.split()},
        "close": _in_turn(_in_turn(_Pair.close), "_reading"),
    },
)
