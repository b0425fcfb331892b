"""Native threads, as the snapshot shows them: the program's own, and those that run calls for others."""

from __future__ import annotations

from types import FrameType
from typing import Any, NamedTuple

from greenify.inspect.frames import frames_of
from greenify.inspect.names import function_name, name_by_ident, name_in, name_of
from greenify.inspect.record import Wait
from greenify.inspect.waits import wait_in

__all__ = ["Native", "look_at"]


class Native(NamedTuple):
    """A native thread: its name, and what it waits for if that is known."""

    name: str
    wait: Wait | None


_WORKERS = "greenify.core.workers"
_NATIVE = "greenify.core.native"
_CALLS = "greenify.green._foreign.calls"


def look_at(ident: int, frame: FrameType) -> Native | None:
    """What there is to tell of a native thread; None of greenify's own that serve nobody now."""
    frames = frames_of(frame)
    name = name_by_ident(ident)
    hidden = any(
        each.f_code.co_name == "run" and each.f_globals.get("__name__") == _NATIVE
        for each in frames[-2:]
    )
    if hidden:
        return _serving(frames)
    return Native(name or name_in(frames) or f"thread {ident:#x}", wait_in(frame))


def _serving(frames: list[FrameType]) -> Native | None:
    for frame in frames:
        module = frame.f_globals.get("__name__")
        if module == _CALLS and frame.f_code.co_name == "run":
            call: Any = frame.f_locals["self"]
            function = function_name(call._function)
            return _native(f"call for {name_of(call._caller)}", function)
        if module == _WORKERS and frame.f_code.co_name == "_serve":
            job: Any = frame.f_locals.get("job")
            if job is None:
                return None
            caller = getattr(job.waiter, "greenlet", None)
            whose = "a pool" if caller is None else name_of(caller)
            return _native(f"call for {whose}", function_name(job.function))
    return None


def _native(name: str, function: str) -> Native:
    return Native(name, Wait("native call", f"in {function}", facts={"function": function}))
