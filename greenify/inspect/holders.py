"""Who holds a plain lock: read from the source of whoever stands between its taking and its release.

A `Lock` does not know its owner; to write it down would cost every program.  But a thread that holds one
stands in a ``with lock:`` block, or between ``lock.acquire()`` and ``lock.release()``, in one of its frames.
The source says which expression that is, and the frame's variables which lock.  Nothing of the program's is
called: names, attributes and items are looked up in what holds them, and everything else is left alone.

What is taken in one function and released in another is not found, and neither is what has no source.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from types import CodeType, FrameType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

from greenify.inspect.frames import USER, Place, begins, kind_of, place_of

__all__ = ["Holding", "holdings"]

# A position in a file: line, column.
_Position = tuple[int, int]


class Holding(NamedTuple):
    """A lock that a frame holds, and the line that has taken it."""

    lock: Any
    place: Place


class _Region(NamedTuple):
    """Where in a function a lock is held.

    Attributes:
        lock: the expression of the lock.
        first, end: the positions between which it is held.
        line: the line that takes it.
    """

    lock: ast.expr
    first: _Position
    end: _Position
    line: int


_ENDLESS: _Position = (sys.maxsize, 0)

# By file: the regions of its functions, by their names and first lines.
_files: dict[str, dict[tuple[str, int], list[_Region]]] = {}
_MOST_FILES = 1_000


def holdings(frame: FrameType | None) -> Iterable[Holding]:
    """The plain locks that a thread holds in `frame`, its innermost, and below, as far as can be found."""
    found: list[Holding] | None = None
    while frame is not None:
        code = frame.f_code
        known = _codes.get(id(code))
        if known is None or known[0] is not code:
            known = _learn(frame)
        regions = known[1]
        if regions:
            found = [] if found is None else found
            found += _held(regions, frame)
        elif regions is None:
            break
        frame = frame.f_back
    return () if found is None else found


# By the identity of a code object, which is kept: where it holds locks.  None where a thread begins: what is
# below that is not the user's.
_codes: dict[int, tuple[CodeType, list[_Region] | None]] = {}
_MOST_CODES = 10_000


def _learn(frame: FrameType) -> tuple[CodeType, list[_Region] | None]:
    code = frame.f_code
    regions: list[_Region] | None = []
    if begins(frame):
        regions = None
    elif kind_of(code) == USER:
        regions = _regions(frame).get((code.co_name, code.co_firstlineno), [])
    if len(_codes) >= _MOST_CODES:
        _codes.clear()
    entry = _codes[id(code)] = (code, regions)
    return entry


def _held(regions: list[_Region], frame: FrameType) -> Iterator[Holding]:
    position = _position(frame)
    for region in regions:
        if region.first <= position < region.end:
            lock = _lock_of(_value(region.lock, frame))
            if lock is not None:
                yield Holding(lock, place_of(frame)._replace(line=region.line))


def _position(frame: FrameType) -> _Position:
    """Where a frame is, as precisely as the interpreter knows."""
    if sys.version_info >= (3, 11):
        code, index = frame.f_code, frame.f_lasti
        known = _positions.get((id(code), index))
        if known is None or known[0] is not code:
            if len(_positions) >= _MOST_CODES:
                _positions.clear()
            known = _positions[id(code), index] = (code, _position_in(code, index // 2))
        if known[1] is not None:
            return known[1]
    # The whole line: what begins in it has not begun.
    line: int | None = frame.f_lineno
    return line or 0, 0


# By the identity of a code object, which is kept, and the instruction in it: its place has to be counted out.
_positions: dict[tuple[int, int], tuple[CodeType, _Position | None]] = {}


if sys.version_info >= (3, 11):

    def _position_in(code: CodeType, index: int) -> _Position | None:
        found = next(islice(code.co_positions(), max(0, index), None), None)
        if found is None or found[0] is None or found[2] is None:
            return None
        return found[0], found[2]


def _regions(frame: FrameType) -> dict[tuple[str, int], list[_Region]]:
    filename = frame.f_code.co_filename
    found = _files.get(filename)
    if found is None:
        source = "".join(linecache.getlines(filename, frame.f_globals))
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            tree = ast.Module([], [])
        found = {}
        _collect(tree, "<module>", 1, found)
        if len(_files) >= _MOST_FILES:
            _files.clear()
        _files[filename] = found
    return found


def _collect(
    owner: ast.AST, name: str, line: int, found: dict[tuple[str, int], list[_Region]]
) -> None:
    """The regions of a function and of those inside of it."""
    regions = found.setdefault((name, line), [])
    waiting: list[ast.AST] = [owner]
    while waiting:
        node = waiting.pop()
        for field in ("body", "orelse", "finalbody", "handlers"):
            children = getattr(node, field, None)
            if not isinstance(children, list):
                continue
            regions += _between_calls(children)
            for child in children:
                if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    first = child.decorator_list[0].lineno if child.decorator_list else child.lineno
                    _collect(child, child.name, first, found)
                elif isinstance(child, ast.ClassDef):
                    first = child.decorator_list[0].lineno if child.decorator_list else child.lineno
                    _collect(child, child.name, first, found)
                else:
                    if isinstance(child, ast.With):
                        regions += _of_with(child)
                    waiting.append(child)


def _start(node: Any) -> _Position:
    return node.lineno, node.col_offset


def _end(node: Any) -> _Position:
    return node.end_lineno, node.end_col_offset


def _of_with(node: ast.With) -> Iterator[_Region]:
    for item in node.items:
        expression = item.context_expr
        # Behind it come the other items and the block.
        yield _Region(expression, _end(expression), _end(node.body[-1]), expression.lineno)


def _between_calls(statements: list[Any]) -> Iterator[_Region]:
    """``lock.acquire()``, and what follows it up to ``lock.release()``."""
    for number, statement in enumerate(statements):
        lock = _called(statement, "acquire")
        if lock is None:
            continue
        text = ast.dump(lock)
        end = _ENDLESS
        for other in statements[number + 1 :]:
            released = _called(other, "release")
            if released is not None and ast.dump(released) == text:
                end = _start(other)
                break
            if isinstance(other, ast.Try):
                freed = [_called(each, "release") for each in other.finalbody]
                if any(each is not None and ast.dump(each) == text for each in freed):
                    end = _start(other.finalbody[0])
                    break
        yield _Region(lock, _end(statement), end, statement.lineno)


def _called(statement: ast.AST, method: str) -> ast.expr | None:
    """The lock in a statement ``lock.method()``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        if call.func.attr == method:
            return call.func.value
    return None


# Evaluating without calling.

_MISSING = object()


def _value(expression: ast.expr, frame: FrameType) -> Any:
    if isinstance(expression, ast.Name):
        name = expression.id
        code: CodeType = frame.f_code
        if name in code.co_varnames or name in code.co_freevars or name in code.co_cellvars:
            return frame.f_locals.get(name)
        if not code.co_flags & 2:  # of a module or a class: its names are not numbered
            found = frame.f_locals.get(name, _MISSING)
            if found is not _MISSING:
                return found
        return frame.f_globals.get(name)
    if isinstance(expression, ast.Attribute):
        owner = _value(expression.value, frame)
        return None if owner is None else _attribute(owner, expression.attr, frame)
    if isinstance(expression, ast.Subscript):
        return _item(_value(expression.value, frame), expression.slice, frame)
    if isinstance(expression, ast.NamedExpr):
        return _value(expression.target, frame)
    return None


def _attribute(owner: Any, name: str, frame: FrameType) -> Any:
    if name.startswith("__") and not name.endswith("__"):
        # Mangled, with the name of the class that the method is of.
        for kind in type.mro(type(owner)):
            found = _plain(owner, f"_{kind.__name__.lstrip('_')}{name}")
            if found is not None:
                return found
        return None
    return _plain(owner, name)


def _plain(owner: Any, name: str) -> Any:
    if isinstance(owner, ModuleType):
        return vars(owner).get(name)
    try:
        own = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        own = {}
    if isinstance(own, dict) and name in own:
        return own[name]
    kinds = type.mro(owner) if isinstance(owner, type) else type.mro(type(owner))
    for kind in kinds:
        found = vars(kind).get(name, _MISSING)
        if found is _MISSING:
            continue
        if isinstance(found, MemberDescriptorType) and not isinstance(owner, type):
            try:
                return found.__get__(owner)
            except AttributeError:
                return None
        return found
    return None


def _item(owner: Any, index: ast.expr, frame: FrameType) -> Any:
    if type(owner) not in (list, tuple, dict):
        return None
    key: Any = index.value if isinstance(index, ast.Constant) else _value(index, frame)
    if type(key) not in (int, str):
        return None
    try:
        return owner[key]
    except (KeyError, IndexError, TypeError):
        return None


def _lock_of(value: Any) -> Any:
    """The lock that taking `value` takes: a condition takes its own."""
    if value is None:
        return None
    inner = _plain(value, "_lock")
    return value if inner is None or not hasattr(inner, "release") else inner
