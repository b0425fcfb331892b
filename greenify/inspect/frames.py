"""Whose code a frame runs: greenify's, the standard library's, or the user's."""

from __future__ import annotations

import os
import sysconfig
from types import CodeType, FrameType
from typing import NamedTuple

import greenify.errors

__all__ = [
    "OWN",
    "STANDARD",
    "USER",
    "Place",
    "begins",
    "frames_of",
    "is_library",
    "is_own",
    "kind_of",
    "place_of",
    "stack_of",
    "user_frame",
]


class Place(NamedTuple):
    """A line of a program.

    Attributes:
        filename: the file, as tracebacks show it.
        line: the number of the line.
        function: the name of the function.
    """

    filename: str
    line: int
    function: str

    @property
    def short(self) -> str:
        """The file's name, without its folder, and the line: ``jobs.py:12``."""
        return f"{self.filename.rpartition(os.sep)[2]}:{self.line}"

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


def _folders(*names: str) -> tuple[str, ...]:
    found = {os.path.join(path, "") for path in names if path}
    return tuple(found | {os.path.join(os.path.realpath(path), "") for path in found})


_OWN = _folders(os.path.dirname(greenify.errors.__file__))
_STANDARD = _folders(
    sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)
)
# Other people's packages lie inside of the standard library's folder.
_INSTALLED = tuple(
    folder + name + os.sep for folder in _STANDARD for name in ("site-packages", "dist-packages")
)

# What the standard library has frozen into the interpreter, or has in C.
_FROZEN = "<frozen "

# Whose code it is.
USER, STANDARD, OWN = range(3)

# By the name of a file.  The number of files is limited, save for code that is made at run time, whose names
# may be new ones for ever.
_kinds: dict[str, int] = {}
_LIMIT = 10_000


def kind_of(code: CodeType) -> int:
    """Whose code it is: `USER`, `STANDARD` or `OWN`."""
    filename = code.co_filename
    kind = _kinds.get(filename)
    if kind is None:
        if filename.startswith(_OWN):
            kind = OWN
        elif filename.startswith(_FROZEN):
            kind = STANDARD
        elif filename.startswith(_STANDARD) and not filename.startswith(_INSTALLED):
            kind = STANDARD
        else:
            kind = USER
        if len(_kinds) >= _LIMIT:
            _kinds.clear()
        _kinds[filename] = kind
    return kind


def is_own(frame: FrameType) -> bool:
    """Whether it is one of greenify's."""
    return kind_of(frame.f_code) == OWN


def is_library(frame: FrameType) -> bool:
    """Whether it is the standard library's or greenify's."""
    return kind_of(frame.f_code) != USER


# Where `threading` begins a thread: what is below is never the user's.
_BEGINNING = ("threading", "_bootstrap_inner")


def begins(frame: FrameType) -> bool:
    """Whether the user's frames of its thread all lie above it: those below are the same for every thread."""
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) == _BEGINNING


def frames_of(frame: FrameType | None, limit: int = 1_000) -> list[FrameType]:
    """`frame` and its callers, the innermost first, `limit` of them at most."""
    found: list[FrameType] = []
    while frame is not None and len(found) < limit:
        found.append(frame)
        frame = frame.f_back
    return found


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost of `frame` and its callers that is neither the standard library's nor greenify's.

    None if all of them are.  Any thread may ask for the frames of any other.
    """
    while frame is not None and is_library(frame):
        frame = frame.f_back
    return frame


# Thousands of threads wait in a few lines.  By the identity of a code object, which is kept with its places
# by instruction: to find out the line of one takes the longer, the longer the function is.
_places: dict[int, tuple[CodeType, dict[int, Place]]] = {}


def place_of(frame: FrameType) -> Place:
    """The line that a frame is in."""
    code = frame.f_code
    # Before the line: whoever runs goes on while we look.
    index = frame.f_lasti
    known = _places.get(id(code))
    if known is None or known[0] is not code:
        if len(_places) >= _LIMIT:
            _places.clear()
        known = _places[id(code)] = (code, {})
    place = known[1].get(index)
    if place is None:
        # None in the middle of an instruction that belongs to no line.
        line: int | None = frame.f_lineno
        place = Place(code.co_filename, code.co_firstlineno if line is None else line, code.co_name)
        if frame.f_lasti == index:
            known[1][index] = place
    return place


def stack_of(frame: FrameType | None, limit: int = 1_000) -> list[Place]:
    """The lines of `frame` and its callers, the innermost first."""
    return [place_of(each) for each in frames_of(frame, limit)]
