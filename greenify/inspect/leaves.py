"""Greenlets that a thread has switched to by itself, as SQLAlchemy does: while one waits, it waits."""

from __future__ import annotations

import gc
from typing import Any

from greenlet import greenlet

__all__ = ["Leaves"]


class Leaves:
    """Finds them, by one walk over all objects, when it is first asked."""

    def __init__(self) -> None:
        self._children: dict[int, list[greenlet]] | None = None

    def of(self, g: Any) -> greenlet | None:
        """The innermost suspended greenlet that `g`, which is no task's itself, has switched to."""
        hub = getattr(g, "hub", None)
        leaf = getattr(hub, "main_leaf", None)
        if hub is not None and g is hub.main:
            found: greenlet | None = leaf
            return found
        if not getattr(g, "inner", False):
            return None
        if self._children is None:
            self._children = {}
            for each in gc.get_objects():
                if isinstance(each, greenlet) and each.parent is not None and each:
                    self._children.setdefault(id(each.parent), []).append(each)
        inner = None
        while True:
            below = [each for each in self._children.get(id(g), ()) if not hasattr(each, "hub")]
            if not below:
                return inner
            g = inner = below[-1]
