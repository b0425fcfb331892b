"""grpcio: some of its threads wait in C for ever, for channels' events, connectivity, requests and asyncio.

These are native.  The other ones (of request iterators, of connectivity callbacks, the server's pool) run
code of the program and are green.  A unary call waits in C as well: as a future it is woken by its channel's
thread.  As with real threads, what is called on the library's threads (``add_done_callback``, interceptors of
a server) may wait, and keeps that thread from its work meanwhile.
"""

from __future__ import annotations

from typing import Any

from greenify import core
from greenify.core import registry
from greenify.green._foreign import library_threads
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, instead

__all__ = ["LIBRARY"]


def _starts_native(original: Any, *args: Any, **kwargs: Any) -> Any:
    return library_threads.natively(original, *args, **kwargs)


def _blocking(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a call with one response: what waits in C for an event of the call alone."""
    if core.current_hub() is None and not registry.is_main_thread():
        return original(self, *args, **kwargs)
    future = self.future(*args, **kwargs)
    try:
        future.exception()
    except BaseException:
        # Who waits is killed or interrupted.
        future.cancel()
        raise
    return future._state, future._call


LIBRARY = Library(
    package="grpcio",
    tested="1.85",
    replace={
        "grpc._channel": {
            "_run_channel_spin_thread": instead(_starts_native),
            "_spawn_poll_connectivity": instead(_starts_native),
        },
        "grpc._channel:_UnaryUnaryMultiCallable": {"_blocking": instead(_blocking)},
        "grpc._channel:_StreamUnaryMultiCallable": {"_blocking": instead(_blocking)},
        "grpc._channel:_SingleThreadedRendezvous": {"_consume_next_event": handed_over},
        "grpc._server": {"_start": instead(_starts_native)},
        # The first of these starts the thread that waits for all of them.
        "grpc._cython.cygrpc": {"init_grpc_aio": instead(_starts_native)},
        "grpc.aio._channel:Channel": {"__init__": instead(_starts_native)},
        "grpc.aio._server:Server": {"__init__": instead(_starts_native)},
    },
)
