"""The tasks of an asyncio loop, and what they wait for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from greenify.inspect.frames import Place, is_library, place_of, stack_of
from greenify.inspect.record import Wait

__all__ = ["loops_of", "running_task", "tasks_of", "wait_of_task"]


def loops_of(frame: FrameType | None) -> Iterator[Any]:
    """The asyncio loops that run in `frame` and its callers."""
    while frame is not None:
        if (
            frame.f_code.co_name == "run_forever"
            and frame.f_globals.get("__name__") == "asyncio.base_events"
        ):
            yield frame.f_locals["self"]
        frame = frame.f_back


def tasks_of(loop: Any) -> list[Any]:
    """The tasks of `loop` that have not ended.  Any OS thread may ask."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return []
    try:
        return list(asyncio.all_tasks(loop))
    except RuntimeError:
        return []  # it has many, and they begin and end too fast


def running_task(loop: Any) -> Any:
    """The task of `loop` that runs now, or None."""
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio.current_task(loop)


def _chain(coroutine: Any) -> list[Any]:
    """A coroutine and what it awaits, the innermost last."""
    chain: list[Any] = []
    while coroutine is not None and len(chain) < 1_000:
        chain.append(coroutine)
        coroutine = (
            getattr(coroutine, "cr_await", None)
            or getattr(coroutine, "gi_yieldfrom", None)
            or getattr(coroutine, "ag_await", None)
        )
    return chain


def _frame(coroutine: Any) -> FrameType | None:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame: FrameType | None = getattr(coroutine, name, None)
        if frame is not None:
            return frame
    return None


def wait_of_task(task: Any, loop: Any) -> tuple[Wait | None, list[Place]]:
    """What an asyncio task waits for, and its stack, the innermost line first.

    The outermost coroutine of the standard library's says most: ``StreamReader.readline``.
    """
    frames = [frame for frame in map(_frame, _chain(task.get_coro())) if frame is not None]
    stack = [place for frame in reversed(frames) for place in stack_of(frame, 1)]
    future = getattr(task, "_fut_waiter", None)
    if future is None:
        return None, stack
    user: FrameType | None = None
    library: FrameType | None = None
    for frame in frames:
        if not is_library(frame):
            user, library = frame, None
        elif library is None:
            library = frame
    place = None if user is None else place_of(user)
    where = "" if place is None else f" {place.short}"
    if library is not None:
        found = _of_library(library, loop, where, place)
    else:
        found = _of_future(future, where, place)
    return found, stack


def _of_library(frame: FrameType, loop: Any, where: str, place: Place | None) -> Wait:
    name = frame.f_code.co_name
    names = frame.f_locals
    if name == "sleep" and frame.f_globals.get("__name__") == "asyncio.tasks":
        handle = names.get("h")
        if handle is not None:
            left = max(0.0, handle.when() - loop.time())
            return Wait("sleep", f"sleep {left:.1f} s more", handle.when(), place)
    owner = names.get("self")
    text = name if owner is None else f"{type(owner).__name__}.{name}"
    return Wait("await", f"{text}{where}", None, place, on=owner)


def _of_future(future: Any, where: str, place: Place | None) -> Wait:
    children = getattr(future, "_children", None)
    if isinstance(children, list):
        return Wait("await", f"gather of {len(children)}{where}", None, place, on=future)
    get_name = getattr(future, "get_name", None)
    if get_name is not None:
        return Wait("await", f"task {get_name()}", None, place, on=future)
    return Wait("await", f"{type(future).__name__}{where}", None, place, on=future)
