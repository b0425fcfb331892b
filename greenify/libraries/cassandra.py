"""cassandra-driver: by default one thread runs libev's loop, in C; it is native.

Everything else waits for what that thread has received, through locks and events.  As with real threads, a
callback of a future runs on the loop's thread.  The event loops in Python (asyncio's, asyncore's) run in
green threads.
"""

from __future__ import annotations

from greenify.libraries.record import Library

__all__ = ["LIBRARY"]

LIBRARY = Library(
    package="cassandra-driver",
    tested="3.30",
    native_threads=("cassandra.io.libevreactor",),
)
