"""The stack of whoever keeps the loop: the user's line in it, and the call that it does not return from."""

from __future__ import annotations

import ast
import linecache
import sys
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from greenify.inspect.frames import OWN, USER, kind_of

__all__ = ["Call", "Line", "Raw", "call_in", "capture", "is_ours", "lines", "root_of", "users"]

# Frames of a stack that are kept at most, from the innermost on.
_DEPTH = 100


@dataclass(frozen=True)
class Raw:
    """A frame as it was, without keeping anything of it alive but its code and its module.

    Attributes:
        code: its code.
        lasti: the instruction that it is at.
        line: the line.
        names: the global variables.
        types: the types of its local variables, by their names, where reading those leaves no trace.
        stored: what a thread or a pool has been given to call, by where it stands: ``self._target``.
    """

    code: CodeType
    lasti: int
    line: int
    names: dict[str, Any]
    types: dict[str, type]
    stored: dict[str, Call]


@dataclass(frozen=True)
class Line:
    """One line of a stack.

    Attributes:
        file: the file, as tracebacks show it.
        line: the number of the line.
        function: the function, with its class (from CPython 3.11 on).
        text: the source, without indentation; empty if there is none to be had.
    """

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Call:
    """The call that a frame is in, as far as the source says.

    Attributes:
        text: the function, as it stands there: ``cursor.execute``.
        name: its name if that is known, as ``--offload`` takes it: ``package.module:Class.method``.
        value: the function itself, if it is known.
    """

    text: str
    name: str | None = None
    value: Any = None


_NAMED = (FunctionType, BuiltinFunctionType, MethodType, type)


def root_of(frame: FrameType | None) -> FrameType | None:
    """The outermost frame: one for each greenlet that has begun."""
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def capture(frame: FrameType | None) -> list[Raw]:
    """The stack from `frame` outwards.  Reads no source: it is for the thread that looks."""
    found: list[Raw] = []
    while frame is not None and len(found) < _DEPTH:
        types: dict[str, type] = {} if found else _local_types(frame)
        stored = _stored(frame)
        found.append(
            Raw(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals, types, stored)
        )
        frame = frame.f_back
    return found


def _local_types(frame: FrameType) -> dict[str, type]:
    if sys.version_info < (3, 13):
        # There f_locals makes a dictionary that the frame keeps, with everything in it.
        return {}
    types = {}
    for name, value in tuple(frame.f_locals.items()):
        types[name] = type(value)
        if name == "self":
            inner = _attributes(value)
            types.update({f"self.{key}": type(other) for key, other in inner.items()})
    return types


# Of the standard library: in what `run` calls what, as it has been told to.
_GIVEN = {"threading": ("_target", "function"), "concurrent.futures.thread": ("fn",)}


def _stored(frame: FrameType) -> dict[str, Call]:
    if frame.f_code.co_name != "run":
        return {}
    keys = _GIVEN.get(str(frame.f_globals.get("__name__")))
    if keys is None or kind_of(frame.f_code) == USER:
        return {}
    # Nothing else lives in these frames that reading them could keep alive.
    inner = _attributes(frame.f_locals.get("self"))
    return {f"self.{key}": _call_of(inner[key]) for key in keys if inner.get(key) is not None}


def _call_of(value: Any) -> Call:
    """The call of a function, by what is known of it without running code of its class.

    No object is kept that it belongs to: that might end here, on the wrong thread.
    """
    while type(value) is partial:
        value = value.func
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, BuiltinFunctionType):
        owner = value.__self__
        if owner is not None and not isinstance(owner, ModuleType):
            kind = owner if isinstance(owner, type) else type(owner)
            return _method(f"{kind.__qualname__}.{value.__name__}", kind, value.__name__)
    if isinstance(value, _NAMED):
        return Call(value.__qualname__, _name_of(value), value)
    # The functions of ctypes have it there.
    name = _attributes(value).get("__name__")
    return Call(name if isinstance(name, str) else type(value).__qualname__)


def _attributes(value: object) -> dict[str, Any]:
    """The instance dictionary of `value`, without running any code of its class; empty if it has none."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return dict(found) if type(found) is dict else {}


def lines(stack: list[Raw]) -> tuple[Line, ...]:
    """The stack with its source, the innermost line first."""
    found = []
    for raw in stack:
        file = raw.code.co_filename
        text = linecache.getline(file, raw.line, raw.names).strip()
        name = getattr(raw.code, "co_qualname", raw.code.co_name)
        found.append(Line(file, raw.line, name, text))
    return tuple(found)


def is_ours(raw: Raw) -> bool:
    """Whether it is a frame of greenify's."""
    # By the name of its module, too: copies of the standard library's have its files.
    module = raw.names.get("__name__")
    if isinstance(module, str) and module.startswith("greenify."):
        return True
    return kind_of(raw.code) == OWN


def users(stack: list[Raw]) -> int:
    """The index of the innermost frame that is neither the standard library's nor greenify's; else 0."""
    for index, raw in enumerate(stack):
        if kind_of(raw.code) == USER and not is_ours(raw):
            return index
    return 0


def call_in(raw: Raw) -> Call | None:
    """The call that the frame is in; None if the source does not say, or it is in none."""
    source = _segment(raw)
    if source is None:
        return None
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError:
        return None
    if isinstance(tree, ast.Await):
        tree = tree.value
    if not isinstance(tree, ast.Call):
        return None
    text = ast.unparse(tree.func)
    path = _dotted(tree.func)
    if path is None:
        return Call(text)
    return _resolve(raw, text, path)


def _segment(raw: Raw) -> str | None:
    """The source of the expression that the instruction belongs to."""
    if sys.version_info < (3, 11):
        # Only whole lines are known.
        text = linecache.getline(raw.code.co_filename, raw.line, raw.names).strip()
        return _only_call(text)
    # The instructions of two bytes each.
    position = next(islice(raw.code.co_positions(), raw.lasti // 2, None), None)
    if position is None:
        return None
    first, last, start, end = position
    if first is None or last is None or start is None or end is None:
        return None
    source = [
        linecache.getline(raw.code.co_filename, number, raw.names).encode()
        for number in range(first, last + 1)
    ]
    if not all(source):
        return None
    source[-1] = source[-1][:end]
    source[0] = source[0][start:]
    return b"".join(source).decode(errors="replace")


def _only_call(text: str) -> str | None:
    """The outermost call of a line, if there is only one such."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return ast.get_source_segment(text, calls[0]) if len(calls) == 1 else None


def _dotted(node: ast.expr) -> list[str] | None:
    """``["a", "b", "c"]`` of ``a.b.c``; None of anything else."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return [node.id, *reversed(path)]


def _resolve(raw: Raw, text: str, path: list[str]) -> Call:
    """Look the function up in modules, classes and the types of locals, without running code of theirs."""
    if text in raw.stored:
        return raw.stored[text]
    types = raw.types
    joined = ".".join(path[:2])
    if len(path) == 3 and joined in types:
        return _method(text, types[joined], path[2])
    if path[0] in types:
        return _method(text, types[path[0]], path[1]) if len(path) == 2 else Call(text)
    if path[0] in raw.code.co_varnames or path[0] in raw.code.co_freevars:
        return Call(text)
    builtins = raw.names.get("__builtins__", {})
    if isinstance(builtins, ModuleType):
        builtins = vars(builtins)
    value = raw.names.get(path[0], builtins.get(path[0]))
    for position, attribute in enumerate(path[1:], 2):
        if isinstance(value, ModuleType):
            value = vars(value).get(attribute)
        elif isinstance(value, type):
            return _method(text, value, attribute) if position == len(path) else Call(text)
        else:
            return _method(text, type(value), attribute) if position == len(path) else Call(text)
    if value is None:
        return Call(text)
    # Of other objects even the name may be code.
    return Call(text, _name_of(value) if isinstance(value, _NAMED) else None, value)


def _method(text: str, owner: type, name: str) -> Call:
    for kind in owner.__mro__:
        if name in vars(kind):
            module = _module_of(kind)
            full = None if module is None else f"{module}:{kind.__qualname__}.{name}"
            return Call(text, full, vars(kind)[name])
    return Call(text)


def _name_of(value: Any) -> str | None:
    module = _module_of(value)
    name = getattr(value, "__qualname__", None)
    return f"{module}:{name}" if module and isinstance(name, str) and name.isidentifier() else None


def _module_of(value: Any) -> str | None:
    module = getattr(value, "__module__", None)
    return module if isinstance(module, str) and module in sys.modules else None
