"""The pipe that ends a hub's sleep."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["WakeupPipe"]

_close = os.close
_read = os.read


class _End:
    """One end of the hub's pipe, closed with its last reference: a waker on another thread may hold one.

    The writing end holds the reading one, for a write to a pipe without would raise SIGPIPE.
    """

    __slots__ = ("_fd", "_other")

    def __init__(self, fd: int, other: _End | None = None) -> None:
        self._fd = fd
        self._other = other
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def __del__(self) -> None:
        _close(self._fd)


class WakeupPipe:
    """The pipe whose bytes end the hub's sleep; also what `signal.set_wakeup_fd` writes to.

    A pipe takes 65,536 single bytes, a socket pair 278, and no signal number shall be lost.
    """

    __slots__ = ("_hub", "reader", "writer")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        reader, writer = os.pipe()
        self.reader = _End(reader)
        self.writer = _End(writer, self.reader)
        descriptor = hub.descriptors.attach(self.reader.fileno(), writing=False)
        descriptor.read.waiter = self

    def switch(self) -> None:
        """The hub runs this as if it were a greenlet, whenever bytes have arrived."""
        hub = self._hub
        descriptor = hub.descriptors.by_fd[self.reader.fileno()]
        descriptor.read.waiter = self
        data = self.take()
        # Zero bytes come from `interrupt`; the others are signal numbers.
        signals = data.replace(b"\0", b"")
        if signals and hub.on_signals is not None:
            hub.on_signals(signals)

    def take(self) -> bytes:
        """What has been written.  Any OS thread; one that is not the hub's has to `Hub.interrupt` it then."""
        reader = self.reader  # held, so that it cannot be closed meanwhile
        fd = reader.fileno()
        data = b""
        try:
            while True:
                piece = _read(fd, 4096)
                data += piece
                if len(piece) < 4096:
                    break
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        del self.reader, self.writer
