"""What a thread that has just begun to wait waits for, in words, within a small part of the time.

`greenify.inspect.waits` finds it out, in some ten microseconds: too long where threads wait all the time.  So
what is known of a wait is kept by what it waits in.  When all that has taken more than a fiftieth of the
time, waits are told by their kind alone, until it has become less.
"""

from __future__ import annotations

from types import CodeType, FrameType
from typing import Any

from greenify.core.clock import monotonic_ns as _clock
from greenify.core.descriptors import Side
from greenify.inspect.frames import begins, is_library, place_of
from greenify.inspect.record import Context, Describer, Wait
from greenify.inspect.waits import known_in, wait_in
from greenify.inspect.waits_on_descriptors import SOCKETS

__all__ = ["Waits"]

# How much of the time may go into it, and how many nanoseconds are there at the beginning.
_PART = 50
_CREDIT = 10_000_000

# How many descriptors, and kinds of waits, are remembered.
_KEPT = 4096

_NOBODY = Context(None, None)

_SIDE_WAIT: CodeType = Side.wait.__code__


class Waits:
    """Tells waits, and remembers them.  Of one OS thread at a time; nothing in here waits."""

    def __init__(self) -> None:
        self._begun = _clock()
        self._spent = 0
        # By the side of a descriptor and the function that waits for it.  The side is kept, so that no other
        # one gets its number.
        self._sides: dict[tuple[int, int], tuple[Any, CodeType, str]] = {}
        # By the function that waits for a side.
        self._side_kinds: dict[int, tuple[CodeType, str]] = {}
        # By the function that waits for a socket: it and those that it was called by, which of them knows the
        # socket, and what tells such a wait.
        self._sockets: dict[int, tuple[list[CodeType], CodeType, Describer]] = {}
        # By the functions that wait, one in the other.  They are kept likewise.
        self._kinds: dict[tuple[int, ...], tuple[list[CodeType], str]] = {}

    def text(self, frame: FrameType | None) -> str:
        """What is waited for in `frame`, the innermost one of a thread."""
        if frame is None:
            return "waiting"
        begun = _clock()
        try:
            if frame.f_code is _SIDE_WAIT:
                return self._of_side(frame, begun)
            return self._other(frame, begun)
        finally:
            self._spent += _clock() - begun

    def _too_much(self, begun: int) -> bool:
        return self._spent > _CREDIT + (begun - self._begun) // _PART

    def _of_side(self, frame: FrameType, begun: int) -> str:
        side = frame.f_locals.get("self")
        caller = frame.f_back
        if caller is None:
            return "waiting"
        key = (id(side), id(caller.f_code))
        found = self._sides.get(key)
        if found is not None:
            return found[2]
        known = self._side_kinds.get(key[1])
        if known is not None and self._too_much(begun):
            return known[1]  # one connection after the other
        kind, text = self._of_socket(caller) or self._in_full(frame, caller)
        if len(self._sides) >= _KEPT:
            self._sides.clear()
        self._sides[key] = (side, caller.f_code, text)
        self._side_kinds[key[1]] = (caller.f_code, kind)
        return text

    def _in_full(self, frame: FrameType, caller: FrameType) -> tuple[str, str]:
        wait = wait_in(frame)
        text = _told(wait, frame)
        user, known = known_in(frame)
        if known and known[-1][1] in SOCKETS:
            # The next one of the same stack is told by that one function's variables.
            teller, describer = known[-1]
            codes = []
            each: FrameType | None = caller
            while each is not None and each is not user and not begins(each):
                codes.append(each.f_code)
                each = each.f_back
            self._sockets[id(caller.f_code)] = (codes, teller.f_code, describer)
        return text if wait is None else wait.kind, text

    def _of_socket(self, caller: FrameType) -> tuple[str, str] | None:
        known = self._sockets.get(id(caller.f_code))
        if known is None:
            return None
        codes, outermost, describer = known
        each: FrameType | None = caller
        teller = caller
        for code in codes:
            if each is None or each.f_code is not code:
                return None
            if code is outermost:
                teller = each
            each = each.f_back
        if each is not None and is_library(each) and not begins(each):
            return None
        wait = describer(teller.f_locals, None, _NOBODY)
        return None if wait is None else (wait.kind, wait.text)

    def _other(self, frame: FrameType, begun: int) -> str:
        codes = []
        each: FrameType | None = frame
        while each is not None and is_library(each):
            codes.append(each.f_code)
            each = each.f_back
        key = tuple(map(id, codes))
        known = self._kinds.get(key)
        if known is not None and self._too_much(begun):
            return known[1]
        wait = wait_in(frame)
        text = _told(wait, frame)
        if known is None:
            if len(self._kinds) >= _KEPT:
                self._kinds.clear()
            self._kinds[key] = (codes, text if wait is None else wait.kind)
        return text


def _told(wait: Wait | None, frame: FrameType) -> str:
    if wait is None:
        place = place_of(frame)
        return f"waiting in {place.function} ({place.short})"
    if wait.kind == "sleep":
        # Its text tells how much is left now.
        return "sleep" if wait.place is None else f"sleep {wait.place.short}"
    return wait.text
