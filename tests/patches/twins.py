"""Says what every place that a patch replaces looks like to Python, as JSON: place -> aspect -> description.

    python -m tests.patches.twins patched > twins.json              # what greenify puts there
    python -m tests.patches.twins plain < twins.json > native.json  # what was there, at the same places

`test_names` compares the two.  Nothing in here calls what it describes with arguments that it could take.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import json
import pickle
import re
import sys
import weakref
from collections.abc import Callable
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, ModuleType
from typing import Any, cast

# What is patched when it is imported.
import _queue  # isort: skip  # noqa: F401
import asyncio  # noqa: F401
import cProfile  # noqa: F401
import ctypes  # noqa: F401
import multiprocessing.spawn  # noqa: F401

from greenify.patches import changes, patch_all

_ADDRESS = re.compile(r"0x[0-9a-f]+")

# Classes whose instances are made with arguments, or not at all.
_ARGUMENTS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "BufferedReader": lambda: (io.BytesIO(),),
    "BufferedWriter": lambda: (io.BytesIO(),),
    "BufferedRandom": lambda: (io.BytesIO(),),
    "BufferedRWPair": lambda: (io.BytesIO(), io.BytesIO()),
    "SemLock": lambda: (1, 1, 1, "/greenify-names", True),
}

# How those are made that are classes in one Python and functions in another.
_FACTORIES = ("allocate_lock", "allocate", "_allocate_lock", "Lock", "_set_sentinel", "poll")


def _told(call: Callable[[], object]) -> str:
    """What a call gives, or its error, in words."""
    try:
        return _ADDRESS.sub("0x", f"{call()}")
    except BaseException as exc:
        return _ADDRESS.sub("0x", f"{type(exc).__name__}: {exc}")


def _told_by_interpreter(call: Callable[[], object]) -> str:
    """The same where the interpreter words the error: it knows classes of C with their module only."""
    return re.sub(r"'(?:\w+\.)+(\w+)'", r"'\1'", _told(call))


def _kind_of_error(call: Callable[[], object]) -> str:
    """What a call gives, or the class of its error, whose text has the object in it."""
    try:
        return f"{call()}"
    except BaseException as exc:
        return type(exc).__name__


def _same(call: Callable[[], object], thing: object) -> str:
    return _told(lambda: "the same" if call() is thing else "another")


def _pickled(thing: object) -> str:
    return " ".join(
        _told(lambda protocol=protocol: pickle.dumps(thing, protocol))
        for protocol in (2, pickle.HIGHEST_PROTOCOL)
    )


def _python_pickled(thing: object) -> str:
    def call() -> bytes:
        target = io.BytesIO()
        pickle._Pickler(target, 2).dump(thing)  # type: ignore[attr-defined]
        return target.getvalue()

    return _told(call)


def _in_class(thing: Any) -> str:
    Holder = type("Holder", (), {"thing": thing})
    return (
        f"{_same(lambda: Holder().thing, thing)}, of the class {_same(lambda: Holder.thing, thing)}"
    )


def _subclass(kind: type) -> str:
    def call() -> str:
        derived = type("Derived", (kind,), {})
        made = derived(*_ARGUMENTS.get(kind.__name__, tuple)())
        made.anything = 1
        return f"{isinstance(made, kind)} {issubclass(derived, kind)} {made!r}"

    return _told(call)


def _error(call: Callable[[], object]) -> str:
    """The class of the error that a wrong call raises: the texts are the interpreter's own."""
    try:
        call()
    except BaseException as exc:
        return type(exc).__name__
    return "none"


def _names(thing: Any) -> dict[str, str]:
    names = ("__module__", "__name__", "__qualname__", "__doc__", "__text_signature__")
    return {name: _told(lambda name=name: repr(getattr(thing, name))) for name in names} | {
        "signature": _told(lambda: inspect.signature(thing)),
        "repr": _told(lambda: repr(thing)),
    }


def _value(thing: Any) -> dict[str, str]:
    """What is true of an object of any kind."""
    return {
        "pickle": _pickled(thing),
        "pickle 0": _told(lambda: pickle.dumps(thing, 0)),
        "Python's pickle": _python_pickled(thing),
        "copy": _same(lambda: copy.copy(thing), thing),
        "deepcopy": _same(lambda: copy.deepcopy(thing), thing),
        "weak reference": _told_by_interpreter(lambda: weakref.ref(thing)() is thing),
        "equality": _told(lambda: (thing == thing, thing != thing, thing == 1, thing in {thing})),
        "order": _told_by_interpreter(lambda: thing < thing),
        "truth": _told(lambda: bool(thing)),
    }


def _predicates(thing: Any) -> str:
    kinds = {
        "builtin": inspect.isbuiltin(thing),
        "routine": inspect.isroutine(thing),
        "method": inspect.ismethod(thing),
        "function": inspect.isfunction(thing),
        "descriptor": inspect.ismethoddescriptor(thing),
        "class": isinstance(thing, type),
        "callable": callable(thing),
        "BuiltinFunctionType": isinstance(thing, BuiltinFunctionType | BuiltinMethodType),
    }
    return " ".join(name for name, yes in kinds.items() if yes)


def _function(thing: Any, name: str) -> dict[str, str]:
    result = {
        **_names(thing),
        **_value(thing),
        "kind": _predicates(thing),
        "in a class": _in_class(thing),
        "__self__": _told(lambda: repr(getattr(thing, "__self__", None))),
        "setting an attribute": _error(lambda: setattr(thing, "anything", 1)),
        "__dict__": _error(lambda: vars(thing)),
        "too many arguments": _error(lambda: thing(*range(30))),
        "an unknown keyword": _error(lambda: thing(nonsense=1)),
        "source": _error(lambda: inspect.getsource(thing)),
    }
    if name in _FACTORIES:
        result |= {f"instance: {key}": value for key, value in _instance(thing()).items()}
    return result


def _instance(thing: Any) -> dict[str, str]:
    return {
        **_value(thing),
        "repr": _told(lambda: repr(thing)),
        "class": _told(lambda: repr(type(thing))),
        "setting an attribute": _told_by_interpreter(lambda: setattr(thing, "anything", 1)),
        "__dict__": _told_by_interpreter(lambda: vars(thing)),
        "attributes": _told(lambda: [name for name in dir(thing) if name[:1] != "_"]),
        "documentation": _told(lambda: repr(thing.__doc__)),
        **{
            f"{name}.{aspect}": text
            for name in dir(thing)
            if name[:1] != "_" and callable(getattr(thing, name, None))
            for aspect, text in _bound_method(getattr(thing, name)).items()
        },
    }


def _bound_method(method: Any) -> dict[str, str]:
    names = ("__name__", "__qualname__", "__doc__")
    return {name: _told(lambda name=name: repr(getattr(method, name))) for name in names} | {
        "signature": _kind_of_error(lambda: inspect.signature(method)),
    }


def _class(thing: type) -> dict[str, str]:
    arguments = _ARGUMENTS.get(thing.__name__, tuple)
    result = {
        **_names(thing),
        **_value(thing),
        "kind": _predicates(thing),
        "in a class": _in_class(thing),
        "subclass": _subclass(thing),
        "setting an attribute": _told(lambda: setattr(thing, "anything", 1)),
        "subscript": _told_by_interpreter(lambda: cast(Any, thing)[int]),
        "too many arguments": _error(lambda: thing(*range(30))),
        "an unknown keyword": _error(lambda: thing(nonsense=1)),
    }
    if "anything" in vars(thing):
        del thing.anything  # type: ignore[attr-defined]
    try:
        made = thing(*arguments())
    except BaseException as exc:
        result["instance"] = f"{type(exc).__name__}: {exc}"
    else:
        result |= {f"instance: {key}": value for key, value in _instance(made).items()}
    return result


def _method(thing: Any) -> dict[str, str]:
    """A function, a descriptor or a property that is an attribute of a class."""
    result = {"documentation": _told(lambda: repr(thing.__doc__))}
    if callable(thing):
        result |= _names(thing)
        result["pickle"] = _pickled(thing)
        result["kind"] = _predicates(thing)
        result["__objclass__"] = _told(lambda: repr(getattr(thing, "__objclass__", None)))
    return result


def describe(owner: Any, name: str) -> dict[str, str]:
    """What ``owner.name`` looks like."""
    if isinstance(owner, ModuleType):
        thing = getattr(owner, name)
        if isinstance(thing, type):
            return _class(thing)
        result = _function(thing, name)
        if isinstance(thing, FunctionType):
            # A Python function of the standard library: it is not compared what it binds to.
            result.pop("source")
        return result
    return _method(inspect.getattr_static(owner, name))


def _places() -> list[list[str]]:
    """Where something is replaced now: the module, the class in it or "", and the attribute."""
    owners = [(change.owner, str(change.name)) for change in changes() if change.kind == "replaced"]
    return [
        [owner.__name__, "", name]
        if isinstance(owner, ModuleType)
        else [owner.__module__, owner.__qualname__, name]
        for owner, name in owners
        if isinstance(owner, ModuleType | type)
    ]


def main(mode: str) -> None:
    """Print what there is at every place."""
    if mode == "patched":
        patch_all()
        places = _places()
    else:
        places = [place.split(":") for place in json.load(sys.stdin)]
    found: dict[str, dict[str, str]] = {}
    for module, kind, name in places:
        owner = importlib.import_module(module)
        if kind:
            owner = getattr(owner, kind)
        thing = inspect.getattr_static(owner, name, None)
        # What every object has is not a method of this class that has been replaced.
        if hasattr(owner, name) and getattr(thing, "__objclass__", None) is not object:
            found[f"{module}:{kind}:{name}"] = describe(owner, name)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
