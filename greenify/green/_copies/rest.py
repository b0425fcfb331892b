"""The rest of a standard library module, for a twin that defines only what blocks.

A twin has every name that the module has.  What the twin does not define is the module's own object, save
for functions in Python that call something which the twin defines: of those it gets copies that call its own.
"""

from __future__ import annotations

import types
from typing import Any

__all__ = ["complete", "copy_function", "public_names"]


def public_names(module: types.ModuleType) -> list[str]:
    """What ``from module import *`` takes."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return list(names)
    return [name for name in vars(module) if not name.startswith("_")]


def complete(twin: dict[str, Any], module: types.ModuleType, **others: Any) -> None:
    """Put into `twin`, the globals of a twin of `module`, copies of the functions that need one.

    Its ``__all__`` becomes as long as the module's.

    Args:
        twin: it defines what is in its ``__all__``.
        module: the standard library's.
        others: what else the copies shall find in place of the module's own.
    """
    native = dict(vars(module))
    own_names = frozenset(twin["__all__"])
    own = {name: twin[name] for name in twin["__all__"]}
    own.update(others)
    replaced = {id(native[name]): own[name] for name in own if name in native}
    for name, value in native.items():
        # Other names of the same objects.
        if name not in own and id(value) in replaced:
            own[name] = replaced[id(value)]
            twin.setdefault(name, own[name])
    namespace = {**native, **own}
    pending = {
        name: value
        for name, value in native.items()
        if isinstance(value, types.FunctionType)
        and value.__globals__ is vars(module)
        and name not in own
    }
    found = True
    while found:
        found = False
        for name, function in list(pending.items()):
            if not own.keys().isdisjoint(function.__code__.co_names):
                copy = copy_function(function, namespace)
                own[name] = namespace[name] = copy
                twin.setdefault(name, copy)
                del pending[name]
                found = True
    twin["__all__"] += [name for name in public_names(module) if name not in own_names]


def copy_function(function: types.FunctionType, namespace: dict[str, Any]) -> types.FunctionType:
    """`function` over other globals."""
    copy = types.FunctionType(
        function.__code__,
        namespace,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__doc__ = function.__doc__
    copy.__qualname__ = function.__qualname__
    copy.__dict__.update(function.__dict__)
    return copy
