"""What the program has hidden from the garbage collector, and with it from those who ask it for objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["thawed"]

# More objects than the interpreter itself freezes when it starts: the program has done it.
_AT_START = 2000


@contextmanager
def thawed() -> Iterator[None]:
    """Let `gc.get_objects` and `gc.get_referrers` see what `gc.freeze` has set apart, in the block.

    Servers call that before they fork.  Afterwards all that there is then is frozen: the interpreter does not
    say what was.  Garbage is collected before, or it would stay, unless the collector is turned off.
    """
    if gc.get_freeze_count() <= _AT_START:
        yield
        return
    gc.unfreeze()
    try:
        yield
    finally:
        if gc.isenabled():
            gc.collect()
        gc.freeze()
