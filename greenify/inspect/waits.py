"""What a thread, a task or a greenlet waits for, found by looking at it from outside.

    wait = wait_of(greenlet)
    print(wait.text)  # recv 127.0.0.1:5432 (fd 7)

The innermost frames of whoever waits are greenify's and the standard library's.  The outermost of them that
the table knows says most: in ``Queue.get``, which waits on a condition, which waits on a waiter, it is the
first.  The user's own variables are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

from greenlet import greenlet

from greenify.inspect import waits_on_descriptors, waits_on_others
from greenify.inspect.frames import USER, begins, kind_of, user_frame
from greenify.inspect.record import ALONE, BLIND, TABLE, TIMED, Context, Describer, Wait, completed

__all__ = ["Wait", "known_in", "wait_in", "wait_of", "waiting_in"]

# Both have filled the table.
assert waits_on_descriptors and waits_on_others

_NO_NAMES: Mapping[str, Any] = {}

# Nobody waits deeper than that below the user's line.
_DEPTHS = range(60)


def wait_of(g: greenlet) -> Wait | None:
    """What `g` waits for; None if it runs, has not begun or has ended, or waits in no way that is known.

    Any thread may ask, also a native one while the greenlet's own is blocked.
    """
    frame: FrameType | None = g.gr_frame
    return None if frame is None else wait_in(frame)


def wait_in(frame: FrameType) -> Wait | None:
    """What is waited for in `frame`, the innermost one of a thread; see `wait_of`."""
    return waiting_in(frame)[0]


def waiting_in(frame: FrameType) -> tuple[Wait | None, FrameType | None]:
    """What is waited for in `frame`, and the innermost frame of the user's that does, if any."""
    user, known = known_in(frame)
    if not known:
        return None, user
    context = Context(user, frame)
    found: Wait | None = None
    outermost, describer = known[-1]
    names = outermost.f_locals if describer in TIMED else _NO_NAMES
    if "deadline" in names:
        found = _described(describer, names, None, context)
    else:
        for each, describer in known:
            names = _NO_NAMES if describer in BLIND else each.f_locals
            found = _described(describer, names, found, context)
    if found is not None:
        if found.place is None:
            found.place = context.place
        if not found.text:
            completed(found, context)
    return found, user


def _described(
    describer: Describer, names: Mapping[str, Any], inner: Wait | None, context: Context
) -> Wait | None:
    try:
        found = describer(names, inner, context)
    except Exception as exc:
        # It goes on while we look, and its variables are those of another moment.
        found = Wait("unknown", f"unknown ({type(exc).__name__}: {exc})")
    if found is None:
        return inner
    if inner is not None and found.until is None:
        found.until = inner.until
    return found


def known_in(frame: FrameType) -> tuple[FrameType | None, list[tuple[FrameType, Describer]]]:
    """The innermost frame of the user's, and those inside of it that wait, with what tells it."""
    known: list[tuple[FrameType, Describer]] = []
    user = frame
    for _ in _DEPTHS:
        code = user.f_code
        entry = _codes.get(id(code))
        if entry is None or entry[0] is not code:
            entry = _learn(user)
        _, end, describer = entry
        if end is not None:
            return (user if end is _USER else None), known
        if describer is not None:
            if describer in ALONE:
                known = [(user, describer)]
            else:
                if known and known[-1][1] is describer:
                    del known[-1]  # `Queue.get` and what it waits with would say the same
                known.append((user, describer))
        outer = user.f_back
        if outer is None:
            return None, known
        user = outer
    return user_frame(user), known


# Why nobody looks further out: the line that counts has been found, or there is none.
_USER = "the user's"
_BEGINNING = "the beginning of a thread"

# By the identity of a code object, whose hash goes through all of it: that, why nobody looks further out, and
# the describer of its function.
_codes: dict[int, tuple[CodeType, str | None, Describer | None]] = {}
_MOST_CODES = 10_000

# What the names of copies over the unpatched functions begin with.
_ORIGINALS = "greenify.originals."


def _learn(frame: FrameType) -> tuple[CodeType, str | None, Describer | None]:
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", "")).removeprefix(_ORIGINALS)
    end = _USER if kind_of(code) == USER else _BEGINNING if begins(frame) else None
    describer = None if end else TABLE.get((module, code.co_name))
    if len(_codes) >= _MOST_CODES:
        _codes.clear()
    entry = _codes[id(code)] = (code, end, describer)
    return entry
