"""What a thread, a task or a greenlet waits for, found by looking at it from outside.

    wait = wait_of(greenlet)
    print(wait.text)  # recv 127.0.0.1:5432 (fd 7)

The innermost frames of whoever waits are greenify's and the standard library's.  The outermost of them that
the table knows says most: in ``Queue.get``, which waits on a condition, which waits on a waiter, it is the
first.  The user's own variables are not touched.
"""

from __future__ import annotations

from dataclasses import replace
from types import FrameType

from greenlet import greenlet

from greenify.inspect import waits_on_descriptors, waits_on_others
from greenify.inspect.frames import is_library
from greenify.inspect.record import TABLE, Context, Wait

__all__ = ["Wait", "wait_in", "wait_of"]

# Both have filled the table.
assert waits_on_descriptors and waits_on_others

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
    frames: list[FrameType] = []
    user: FrameType | None = frame
    while user is not None and is_library(user) and len(frames) < _DEEPEST:
        frames.append(user)
        user = user.f_back
    context = Context(user, frames)
    found: Wait | None = None
    for each in frames:
        describer = TABLE.get((each.f_globals.get("__name__", ""), each.f_code.co_name))
        if describer is None:
            continue
        try:
            described = describer(each.f_locals, found, context)
        except Exception as exc:
            # It goes on while we look, and its variables are those of another moment.
            described = Wait("unknown", f"unknown ({type(exc).__name__}: {exc})")
        if described is not None:
            if described.until is None and found is not None and found.until is not None:
                described = replace(described, until=found.until)
            found = described
    if found is None or found.place is not None or context.place is None:
        return found
    return replace(found, place=context.place)
