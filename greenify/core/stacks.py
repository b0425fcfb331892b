"""What every task of a hub is doing: for diagnoses of hangs."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["describe", "frames"]


def frames(hub: Hub) -> list[tuple[greenlet, FrameType | None]]:
    """The main greenlet and every task of `hub`, each with the frame it is suspended in.

    The frame of the greenlet that calls this, and of one that has not started, is None.
    """
    current = getcurrent()
    found: list[tuple[greenlet, FrameType | None]] = []
    for g in (hub.main, *tuple(hub.tasks)):
        if not g.dead:
            found.append((g, None if g is current else g.gr_frame))
    return found


def describe(hub: Hub) -> str:
    """Name every task that waits on `hub`, with its stack, one after the other."""
    parts = []
    for g, frame in frames(hub):
        name = "main greenlet" if g is hub.main else repr(g)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "  (no frame)\n"
        parts.append(f"{name}:\n{stack}")
    return "\n".join(parts)
