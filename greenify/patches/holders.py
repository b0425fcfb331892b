"""How one object holds a reference to another: in which place, and whether it can be rewritten there."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import (
    AsyncGeneratorType,
    BuiltinMethodType,
    CellType,
    ClassMethodDescriptorType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from greenify.patches.places import (
    Attribute,
    Element,
    Item,
    Member,
    PartialPart,
    Place,
    instance_dict,
)
from greenify.patches.record import label

__all__ = ["CONTAINERS", "HARMLESS", "frame_name", "is_derivable", "rebuilt", "scan"]

CONTAINERS = (dict, list, deque, set, CellType)
"""What says nothing about whose it is."""

HARMLESS = (
    # They refer to a type because they belong to it, or name it in an annotation.
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
    type(list[int]),
    type(int | str),
    # C modules refer to their types; a class refers to its bases, which are looked at by themselves.
    ModuleType,
    type,
)

_PAUSED: tuple[tuple[type, str], ...] = (
    (GeneratorType, "gi_frame"),
    (CoroutineType, "cr_frame"),
    (AsyncGeneratorType, "ag_frame"),
)

Found = Place | str | None


def is_derivable(holder: Any) -> bool:
    """Whether `holder` cannot be changed, but can be rebuilt."""
    kind = type(holder)
    if kind is BuiltinMethodType:
        return not isinstance(holder.__self__, ModuleType | type)
    return kind in (frozenset, staticmethod, classmethod, MethodType, MethodWrapperType) or (
        isinstance(holder, tuple)
    )


def rebuilt(holder: Any, new: Callable[[Any], Any]) -> Any:
    """`holder` over again, with ``new(part)`` for each part."""
    kind = type(holder)
    if isinstance(holder, tuple):
        return tuple.__new__(kind, map(new, holder))
    if kind is frozenset:
        return frozenset(map(new, holder))
    if kind is staticmethod or kind is classmethod:
        return kind(new(holder.__func__))
    if kind is MethodType:
        return MethodType(new(holder.__func__), new(holder.__self__))
    return getattr(new(holder.__self__), holder.__name__)


def frame_name(frame: FrameType) -> str:
    """A running or paused function, in words."""
    code = frame.f_code
    name = getattr(code, "co_qualname", code.co_name)  # 3.11
    return f"{name}() in {code.co_filename}"


def scan(holder: Any, wanted: Collection[int], owners: list[Any]) -> Iterator[tuple[int, Found]]:
    """Yield (id, where) for each reference in `holder` to an object whose id is in `wanted`.

    Args:
        holder: any object but a frame.
        wanted: ids.
        owners: what refers to `holder`, as far as that has been looked up.

    Yields:
        `where` is a place to write to; or words that name a place which cannot be written to; or None for
        a reference that does not matter.
    """
    if isinstance(holder, dict):
        yield from _scan_dict(holder, wanted, owners)
    elif isinstance(holder, list | deque):
        for index, value in enumerate(holder):
            if id(value) in wanted:
                yield id(value), Item(holder, index)
    elif type(holder) is set:
        for value in list(holder):
            if id(value) in wanted:
                yield id(value), Element(holder, value)
    elif type(holder) is CellType:
        if id(holder.cell_contents) in wanted:
            yield id(holder.cell_contents), Member(holder, "cell_contents")
    elif isinstance(holder, HARMLESS) or type(holder).__module__ == "typing":
        for value in gc.get_referents(holder):
            if id(value) in wanted:
                yield id(value), None
    else:
        yield from _scan_object(holder, wanted)


def _scan_dict(
    holder: dict[Any, Any], wanted: Collection[int], owners: list[Any]
) -> Iterator[tuple[int, Found]]:
    make: Callable[[Any], Place] = partial(Item, holder)
    for owner in owners:
        if isinstance(owner, type) and "__module__" in holder:
            make = partial(Attribute, owner)
            break
        if isinstance(owner, ModuleType) and vars(owner) is holder:
            make = partial(Attribute, owner)
            break
        if not isinstance(owner, CONTAINERS) and instance_dict(owner) is holder:
            make = partial(Member, owner)
            break
    for key, value in list(dict.items(holder)):
        if id(value) in wanted:
            yield id(value), make(key)
        if id(key) in wanted:
            yield id(key), "a key of a dict"


def _scan_object(holder: Any, wanted: Collection[int]) -> Iterator[tuple[int, Found]]:
    referents = [id(value) for value in gc.get_referents(holder) if id(value) in wanted]
    for number, name in _members(holder, wanted):
        if number in referents:
            referents.remove(number)
            if isinstance(holder, partial):
                yield number, PartialPart(holder, name)
            else:
                yield number, Member(holder, name)
    for number in referents:
        if number == id(type(holder)) or isinstance(holder, FunctionType | BuiltinMethodType):
            # A function has nothing else but its annotations; a class's __new__ knows its class.
            yield number, None
        else:
            yield number, _inside(holder)


def _members(holder: Any, wanted: Collection[int]) -> Iterator[tuple[int, str]]:
    """Attributes that can be set: functions' defaults, values in the instance itself, slots."""
    if isinstance(holder, FunctionType):
        yield id(holder.__defaults__), "__defaults__"
        return
    if isinstance(holder, partial):
        yield id(holder.func), "func"
        yield id(holder.args), "args"
    # From CPython 3.11 on, the values of most instances belong to no dict until somebody asks for it.
    for name, value in (instance_dict(holder) or {}).items():
        if id(value) in wanted:
            yield id(value), name
    for cls in type(holder).__mro__:
        for name, member in vars(cls).items():
            if type(member) is MemberDescriptorType:
                try:
                    value = member.__get__(holder)
                except AttributeError:
                    continue
                if id(value) in wanted:
                    yield id(value), name


def _inside(holder: Any) -> str:
    for kind, attribute in _PAUSED:
        if isinstance(holder, kind):
            frame: FrameType | None = getattr(holder, attribute)
            if frame is not None:
                return f"a variable of {frame_name(frame)}"
    return f"inside {label(holder)}"
