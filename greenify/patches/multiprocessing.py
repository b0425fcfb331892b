"""`multiprocessing`: its semaphores, which block in the kernel.

Everything else of it is Python over sockets, pipes, threads and processes.
"""

from __future__ import annotations

from greenify.patches.record import Patch

try:
    import _multiprocessing  # type: ignore[import-not-found]

    from greenify.green.multiprocessing import SemLock
except ImportError:
    # A Python that was built without semaphores has nothing to patch.
    PATCHES: tuple[Patch, ...] = ()
else:
    PATCHES = (Patch(_multiprocessing, replace={"SemLock": SemLock}),)

__all__ = ["PATCHES"]
