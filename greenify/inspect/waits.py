"""What a thread, a task or a greenlet waits for, found by looking at it from outside.

    wait = wait_of(greenlet)
    print(wait.text)  # recv 127.0.0.1:5432 (fd 7)

The innermost frames of whoever waits are greenify's and the standard library's.  The outermost of them that
the table knows says most: in ``Queue.get``, which waits on a condition, which waits on a waiter, it is the
first.  The user's own variables are not touched.
"""

from __future__ import annotations

from types import CodeType, FrameType
from typing import Any

from greenlet import greenlet

from greenify.inspect import waits_on_descriptors, waits_on_others
from greenify.inspect.frames import USER, kind_of
from greenify.inspect.record import ALONE, BLIND, TABLE, Context, Describer, Wait, completed

__all__ = ["Wait", "known_in", "wait_in", "wait_of"]

# Both have filled the table.
assert waits_on_descriptors and waits_on_others

_NO_NAMES: dict[str, Any] = {}

# Nobody waits deeper than that below the user's line.
_DEEPEST = 60


def wait_of(g: greenlet) -> Wait | None:
    """What `g` waits for; None if it runs, has not begun or has ended, or waits in no way that is known.

    Any thread may ask, also a native one while the greenlet's own is blocked.
    """
    frame: FrameType | None = g.gr_frame
    return None if frame is None else wait_in(frame)


def wait_in(frame: FrameType) -> Wait | None:
    """What is waited for in `frame`, the innermost one of a thread; see `wait_of`."""
    user, frames, known = known_in(frame)
    if not known:
        return None
    context = Context(user, frames)
    found: Wait | None = None
    for each, describer in known:
        try:
            names = _NO_NAMES if describer in BLIND else each.f_locals
            described = describer(names, found, context)
        except Exception as exc:
            # It goes on while we look, and its variables are those of another moment.
            described = Wait("unknown", f"unknown ({type(exc).__name__}: {exc})")
        if described is not None:
            if described.until is None and found is not None:
                described.until = found.until
            found = described
    if found is not None:
        if found.place is None:
            found.place = context.place
        completed(found, context)
    return found


def known_in(
    frame: FrameType,
) -> tuple[FrameType | None, list[FrameType], list[tuple[FrameType, Describer]]]:
    """The innermost frame of the user's, those inside of it, and those that wait, with what tells it."""
    frames: list[FrameType] = []
    known: list[tuple[FrameType, Describer]] = []
    user: FrameType | None = frame
    while user is not None and len(frames) < _DEEPEST:
        code = user.f_code
        entry = _codes.get(id(code))
        if entry is None or entry[0] is not code:
            entry = _learn(user)
        if entry[1]:
            break
        frames.append(user)
        describer = entry[2]
        if describer is not None:
            if describer in ALONE:
                known.clear()
            elif known and known[-1][1] is describer:
                known.pop()  # `Queue.get` and what it waits with would say the same
            known.append((user, describer))
        user = user.f_back
    return user, frames, known


# By the identity of a code object, whose hash goes through all of it: that, whether it is the user's, and the
# describer of its function.
_codes: dict[int, tuple[CodeType, bool, Describer | None]] = {}
_MOST_CODES = 10_000

# What the names of copies over the unpatched functions begin with.
_ORIGINALS = "greenify.originals."


def _learn(frame: FrameType) -> tuple[CodeType, bool, Describer | None]:
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", "")).removeprefix(_ORIGINALS)
    describer = TABLE.get((module, code.co_name))
    user = kind_of(code) == USER
    if len(_codes) >= _MOST_CODES:
        _codes.clear()
    entry = _codes[id(code)] = (code, user, None if user else describer)
    return entry
