"""Fewer garbage collections while many objects are made, none of which is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from greenify.core.fork import fork_hooks

__all__ = ["fewer_collections"]

# So many objects more than have been freed begin a collection, in the place of the program's own number.  If
# the program keeps it by accident, since it has read it in that moment, it still collects.
_MANY = 100_003

# What the program has, while it is replaced.
_before: tuple[int, ...] | None = None


@contextmanager
def fewer_collections() -> Iterator[None]:
    """A block that makes many objects, nearly all of which stay.

    The collector looks at each of them three times, and at all of the program's once.  It is not disabled,
    for a program that disables and enables it itself, in another thread, would find that and keep it: only
    its first threshold is raised, and put back unless the program has set it meanwhile.  Any thread; inside
    of another one it changes nothing.
    """
    global _before
    found = gc.get_threshold()
    # With none, there is no collection anyway.
    if not 0 < found[0] < _MANY:
        yield
        return
    _before = found
    gc.set_threshold(_MANY)
    try:
        yield
    finally:
        _restore()


def _restore() -> None:
    global _before
    before, _before = _before, None
    if before is not None and gc.get_threshold()[0] == _MANY:
        gc.set_threshold(*before)


# The thread that would put it back may not be in the child.
fork_hooks.append(_restore)
