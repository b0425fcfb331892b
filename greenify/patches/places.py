"""Places that can hold a reference, and how to read and write them exactly."""

from __future__ import annotations

import gc
from functools import partial
from types import ModuleType
from typing import Any, Protocol

from greenify.patches.record import MISSING

__all__ = [
    "Attribute",
    "Element",
    "Item",
    "Member",
    "PartialPart",
    "Place",
    "instance_dict",
    "place_of",
]


class Place(Protocol):
    """Where a reference is kept: `owner` holds it under `name`."""

    @property
    def owner(self) -> Any:
        """The object that holds the reference."""

    @property
    def name(self) -> Any:
        """The attribute, key or index."""

    def read(self) -> object:
        """What is there now, or `MISSING`."""

    def write(self, value: object) -> None:
        """Put `value` there; `MISSING` removes what is there."""


# Py_TPFLAGS_HEAPTYPE and Py_TPFLAGS_IMMUTABLETYPE
_HEAP = 1 << 9
_IMMUTABLE = 1 << 8
# Modules of which there is one in a process, and whose static classes therefore belong to one interpreter.
_ALONE = frozenset({"_curses"})


def _belongs_to_its_module(owner: type[Any]) -> bool:
    """Whether it is a class that C has made, which refuses `setattr`, and which no interpreters share."""
    flags = owner.__flags__
    return bool(flags & _IMMUTABLE and (flags & _HEAP or owner.__module__ in _ALONE))


_abstract: Any = vars(type)["__abstractmethods__"]


def _write_into(owner: type[Any], name: str, value: object) -> None:
    """Set an ordinary method of a class that C has made, of which `setattr` refuses to.

    A special method would have to go into the class's C structure as well.
    """
    (namespace,) = (one for one in gc.get_referents(vars(owner)) if type(one) is dict)
    if value is MISSING:
        del namespace[name]
    else:
        namespace[name] = value
    # The interpreter forgets what it remembers about a class when this is set, and asks nobody.
    _abstract.__set__(owner, frozenset())
    _abstract.__delete__(owner)


class Attribute:
    """A module's or a class's own attribute, past descriptors: what `write` puts back is exact."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: ModuleType | type[Any], name: str) -> None:
        self.owner = owner
        self.name = name

    def read(self) -> object:
        return vars(self.owner).get(self.name, MISSING)

    def write(self, value: object) -> None:
        owner = self.owner
        if isinstance(owner, type):
            if _belongs_to_its_module(owner) and not self.name.startswith("__"):
                _write_into(owner, self.name, value)
            elif value is MISSING:
                delattr(owner, self.name)
            else:
                setattr(owner, self.name, value)
        elif value is MISSING:
            del vars(owner)[self.name]
        else:
            # Past the __setattr__ of the classes that some packages make of their modules.
            vars(owner)[self.name] = value


class Member:
    """An attribute of anything else: an instance, a function (``__defaults__``), a cell."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: object, name: str) -> None:
        self.owner = owner
        self.name = name

    # Past what the class itself does when its attributes are read or set: it may refuse, or do more.

    def read(self) -> object:
        values = instance_dict(self.owner)
        if values is not None and self.name in values:
            return values[self.name]
        try:
            value: object = object.__getattribute__(self.owner, self.name)
        except (AttributeError, ValueError):
            # ValueError: an empty cell.
            return MISSING
        return value

    def write(self, value: object) -> None:
        values = instance_dict(self.owner)
        if values is not None and self.name in values:
            if value is MISSING:
                del values[self.name]
            else:
                values[self.name] = value
        elif value is MISSING:
            object.__delattr__(self.owner, self.name)
        else:
            object.__setattr__(self.owner, self.name, value)


class Item:
    """A value in a dict, list or deque."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: Any, name: Any) -> None:
        self.owner = owner
        self.name = name

    def read(self) -> object:
        owner = self.owner
        try:
            if isinstance(owner, dict):
                return dict.get(owner, self.name, MISSING)
            value: object = owner[self.name]
        except LookupError:
            return MISSING
        return value

    def write(self, value: object) -> None:
        owner = self.owner
        if value is MISSING:
            del owner[self.name]
        elif isinstance(owner, dict):
            # Past the __setitem__ of subclasses, which may do more.
            dict.__setitem__(owner, self.name, value)
        else:
            owner[self.name] = value


class Element:
    """An element of a set."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: set[Any], element: object) -> None:
        self.owner = owner
        self.name = element

    def read(self) -> object:
        return self.name if self.name in self.owner else MISSING

    def write(self, value: object) -> None:
        self.owner.discard(self.name)
        self.owner.add(value)
        self.name = value


class PartialPart:
    """The function (``func``) or the arguments (``args``) of a `functools.partial`, which has no setters."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: partial[Any], name: str) -> None:
        self.owner = owner
        self.name = name

    def read(self) -> object:
        value: object = getattr(self.owner, self.name)
        return value

    def write(self, value: object) -> None:
        owner = self.owner
        function = value if self.name == "func" else owner.func
        args = value if self.name == "args" else owner.args
        # What `copy` and `pickle` use.
        state = (function, args, owner.keywords, owner.__dict__ or None)
        owner.__setstate__(state)  # type: ignore[attr-defined]


def instance_dict(thing: object) -> dict[str, Any] | None:
    """The object's own ``__dict__``, past whatever its class says of that; None if it has none."""
    try:
        values = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return values if isinstance(values, dict) else None


def place_of(owner: object, name: str) -> Attribute | Member:
    """The place of an attribute, of whatever `owner` is."""
    if isinstance(owner, ModuleType | type):
        return Attribute(owner, name)
    return Member(owner, name)
