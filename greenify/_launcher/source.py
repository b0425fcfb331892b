"""Compile a script as Python does when it reads one from a file: the same errors, in the same words.

`compile` reads a string, and what is wrong with the bytes themselves it reports differently.
"""

from __future__ import annotations

import marshal
import re
import sys
from importlib.util import MAGIC_NUMBER
from types import CodeType

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
    bad = None if _COOKIE.match(source) else _undecodable(source)
    try:
        code = compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError as exc:
        if bad is not None and (exc.lineno or 0) >= bad[0]:
            raise _not_utf8(filename, *bad) from None
        if exc.msg.startswith("unknown encoding: "):
            raise SyntaxError(exc.msg.replace("unknown encoding", "encoding problem", 1)) from None
        raise
    if bad is not None:
        raise _not_utf8(filename, *bad)
    return code


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


def _undecodable(source: bytes) -> tuple[int, int] | None:
    """The line and the byte at which `source` stops being UTF-8."""
    try:
        source.decode()
    except UnicodeDecodeError as exc:
        return source.count(b"\n", 0, exc.start) + 1, source[exc.start]
    return None


def _not_utf8(filename: str, line: int, byte: int) -> SyntaxError:
    # CPython 3.10 has read the line before it finds out, and counts one more.
    shown = line if sys.version_info >= (3, 11) else line + 1
    return SyntaxError(
        f"Non-UTF-8 code starting with '\\x{byte:02x}' in file {filename} on line {shown}, "
        f"but no encoding declared; see {_PEP_263} for details"
    )


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
