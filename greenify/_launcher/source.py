"""Compile a script as Python does when it reads one from a file: the same errors, in the same words.

`compile` reads a string, and what is wrong with the bytes themselves it reports differently.
"""

from __future__ import annotations

import marshal
import re
import sys
from importlib.util import MAGIC_NUMBER
from types import CodeType
from typing import Any

__all__ = ["compile_file", "is_compiled", "load_compiled"]

# PEP 263, in one of the first two lines.
_COOKIE = re.compile(rb"^(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")

_PEP_263 = (
    "https://peps.python.org/pep-0263/"
    if sys.version_info >= (3, 11)
    else "https://python.org/dev/peps/pep-0263/"
)


def compile_file(source: bytes, filename: str) -> CodeType:
    """Compile the bytes of a source file, whose encoding may be declared in it.

    Raises:
        SyntaxError: as for a script.
    """
    if b"\0" in source:
        source = _without_nulls(source, filename)
    if not _COOKIE.match(source):
        # Before anything else: Python reads on to the end of the file when it has found a syntax error, and
        # what is wrong with the bytes comes first.
        _check_utf8(source, filename)
    try:
        return compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError as exc:
        # From CPython 3.14 on a file is told about in the words of `compile`.
        if exc.msg.startswith("unknown encoding: ") and sys.version_info < (3, 14):
            raise SyntaxError(exc.msg.replace("unknown encoding", "encoding problem", 1)) from None
        raise


def _without_nulls(source: bytes, filename: str) -> bytes:
    lines = source.splitlines(keepends=True)
    if sys.version_info >= (3, 11):
        number, line = next((n, line) for n, line in enumerate(lines, 1) if b"\0" in line)
        text = line.partition(b"\0")[0].decode(errors="replace")
        raise SyntaxError(
            "source code cannot contain null bytes", (filename, number, 0, text, number, 0)
        )
    # CPython 3.10 drops the rest of the line.
    return b"".join(line.partition(b"\0")[0] + b"\n" if b"\0" in line else line for line in lines)


def _check_utf8(source: bytes, filename: str) -> None:
    try:
        source.decode()
    except UnicodeDecodeError as exc:
        line = source.count(b"\n", 0, exc.start) + 1
        if sys.version_info < (3, 11):
            # It has read that line before it finds out, and counts one more.
            line += 1
        raise SyntaxError(
            f"Non-UTF-8 code starting with '\\x{source[exc.start]:02x}' in file {filename} "
            f"on line {line}, but no encoding declared; see {_PEP_263} for details",
            *_place(source, filename),
        ) from None


def _place(source: bytes, filename: str) -> tuple[Any, ...]:
    """Where a byte that is not UTF-8 stands, as a SyntaxError has it: only newer versions of CPython tell."""
    try:
        compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError as exc:
        if exc.msg.startswith("Non-UTF-8 code"):
            (_, *place) = exc.args[1]
            return ((filename, *place),)
    return ()


def is_compiled(head: bytes, filename: str) -> bool:
    """Whether a file is bytecode: by its name, or by what it begins with."""
    return filename.endswith(".pyc") or head[:2] == MAGIC_NUMBER[:2]


def load_compiled(data: bytes, filename: str) -> CodeType:
    """The code in a ``.pyc`` file; RuntimeError if it is not for this Python."""
    if data[:4] != MAGIC_NUMBER:
        raise RuntimeError("Bad magic number in .pyc file")
    code = marshal.loads(memoryview(data)[16:])
    if not isinstance(code, CodeType):
        raise RuntimeError("Bad code object in .pyc file")
    return code
