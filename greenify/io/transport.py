"""The two directions of a stream of libuv: bytes in, with a bound on what is kept; bytes out, likewise."""

from __future__ import annotations

import errno
from typing import Any

from greenify import core
from greenify.core.loop import pyuv
from greenify.errors import UVError, UVTimeoutError
from greenify.io.buffers import ReadBuffer
from greenify.io.handles import EAGAIN, EOF, Handle, Waiters, closed_error, wait_among, wake

__all__ = ["Transport"]

# How much is read ahead of the program, in bytes; the kernel then keeps the rest, and the peer has to wait.
_AHEAD = 262_144

# How much one request to write may have: libuv counts in unsigned int.
_LARGEST = 1 << 30

_UVError = pyuv.error.UVError


class Transport(Handle):
    """A connected handle of libuv, of a socket, a pipe or a terminal.

    It is used by one OS thread; the callbacks of libuv are the methods that begin with ``_on``.
    """

    __slots__ = (
        "_ahead",
        "_closing",
        "_drain",
        "_error",
        "_failed",
        "_input",
        "_reading",
        "_shut",
        "at_eof",
        "buffer",
    )

    #: Read on while the last bytes are sent: a socket that is closed with something unread takes back what
    #: the peer has not received yet.
    discards = True

    def __init__(self, hub: core.Hub, uv: Any) -> None:
        super().__init__(hub, uv)
        self.buffer = ReadBuffer()
        self.at_eof = False
        self._ahead = _AHEAD
        self._reading = False
        self._error = 0  # what has ended reading
        self._failed = 0  # what has ended writing
        self._shut = False  # for writing, by us
        self._closing = False  # as soon as everything is written
        self._input: Waiters = []
        self._drain: Waiters = []

    @property
    def ending(self) -> bool:
        """Whether the stream has been closed, though it may have something to send yet."""
        return self.uv is None or self._closing

    def check_open(self) -> Any:
        """`check`, for somebody who does not want the handle's last bytes to be sent."""
        if self._closing:
            raise closed_error(self.name)
        return self.check()

    # Reading.

    def start_reading(self) -> None:
        """Have libuv read ahead.  The handle is connected."""
        if not (self._reading or self.at_eof or self._error):
            self._reading = True
            self.call(self.uv.start_read, self._on_read)

    def _on_read(self, uv: Any, data: bytes | None, error: int | None) -> None:
        self.hub.sleeping = False  # it is going to look at its ready queue: nobody need write to it
        if error is None:
            if not data or self._closing:
                return  # nothing there, or nobody for it
            self.buffer.append(data)
            if len(self.buffer) >= self._ahead and self._reading and self.uv is not None:
                self._reading = False
                uv.stop_read()
        else:
            self._reading = False
            self._error = self.cause_of_end() if error == EOF else error
            self.at_eof = not self._error
        wake(self._input)

    def cause_of_end(self) -> int:
        """The error that libuv has taken for the end of the stream, or 0."""
        return 0

    def more(self, deadline: float | None, wanted: int = 0) -> bool:
        """Wait until more has come than there is in `buffer`.

        Args:
            deadline: a `time.monotonic` time in seconds, or None.
            wanted: how many bytes the caller waits for in all, if it knows.

        Returns:
            False at the end of the stream.

        Raises:
            UVError: the connection is lost, the stream has been closed, or the deadline has passed.
        """
        have = len(self.buffer)
        while len(self.buffer) <= have:
            if not self.pull(deadline, wanted):
                return False
        return True

    def pull(self, deadline: float | None, wanted: int = 0) -> bool:
        """Wait until something has come.  As `more`, but may return for no reason."""
        self.check_open()
        if self._error:
            raise UVError.of(self._error, self.name)
        if self.at_eof:
            return False
        # At least one more piece, however much there is.
        self._ahead = max(_AHEAD, wanted, len(self.buffer) + 1)
        self.start_reading()
        wait_among(self, self._input, deadline, f"reading from this {self.name}")
        return True

    # Writing.

    @property
    def unsent(self) -> int:
        """How many bytes have been written and are not with the kernel yet."""
        return 0 if self.uv is None else int(self.uv.write_queue_size)

    def check_writing(self) -> Any:
        """`check_open`, and that nothing keeps the stream from being written to."""
        uv = self.check_open()
        if self._failed:
            raise UVError.of(self._failed, self.name)
        if self._shut:
            raise UVError.of(errno.EPIPE, f"this {self.name} has been shut down for writing")
        return uv

    def write(self, data: bytes) -> None:
        """Take all of `data`, and give the kernel of it what it takes now.  Does not wait.

        Raises:
            UVError: writing has failed, now or before; the stream has been closed or shut down.
        """
        uv = self.check_writing()
        rest: memoryview | bytes = data
        if len(data) <= _LARGEST:
            try:
                sent = uv.try_write(data)
            except _UVError as exc:
                # Other errors of the kernel are hidden behind this one too: `write` reports them.
                if exc.args[0] != EAGAIN:
                    raise UVError.of(exc.args[0], self.name) from None
            else:
                if sent == len(data):
                    return
                rest = memoryview(data)[sent:]
        while len(rest) > _LARGEST:
            rest = memoryview(rest)
            self.call(uv.write, rest[:_LARGEST], self._on_written)
            rest = rest[_LARGEST:]
        self.call(uv.write, rest, self._on_written)

    def _on_written(self, uv: Any, error: int | None) -> None:
        self.hub.sleeping = False
        if error is not None and not self._failed:
            self._failed = error
        wake(self._drain)
        if self._closing and (self._failed or not uv.write_queue_size):
            self.close_now()

    def drain(self, limit: int, deadline: float | None) -> None:
        """Wait until at most `limit` bytes are unsent.

        Raises:
            UVError: they cannot be sent, the stream has been closed, or the deadline has passed.
        """
        while True:
            uv = self.check()
            if self._failed:
                raise UVError.of(self._failed, self.name)
            if uv.write_queue_size <= limit:
                return
            wait_among(self, self._drain, deadline, f"writing to this {self.name}")

    def shutdown(self, deadline: float | None) -> None:
        """Tell the peer, after all that was written, that no more will come; reading goes on."""
        uv = self.check()
        if not self._shut:
            result: list[int] = []
            self.call(uv.shutdown, _Shutdown(self, result))
            self._shut = True
            while not result:
                wait_among(self, self._drain, deadline, f"shutting down this {self.name}")
                self.check()
            if result[0]:
                raise UVError.of(result[0], self.name)

    # The end.

    def close_when_sent(self) -> None:
        """Close the handle when all that was written is with the kernel, or cannot be.  Does not wait."""
        uv = self.uv
        if uv is None:
            return
        if self._failed or not uv.write_queue_size:
            self.close_now()
            return
        self._closing = True
        if self.discards and not (self._reading or self.at_eof or self._error):
            self.start_reading()
        wake(self._input)

    def close(self, deadline: float | None) -> None:
        """`close_when_sent`, and wait for that; at the deadline, or interrupted, drop the rest."""
        try:
            self.close_when_sent()
            while self.uv is not None:
                wait_among(self, self._drain, deadline, f"closing this {self.name}")
        except UVTimeoutError:
            pass  # dropped below, as agreed
        finally:
            self.close_now()

    def release(self, uv: Any) -> None:
        self._stop_reading(uv)

    def _stop_reading(self, uv: Any) -> None:
        if self._reading:
            self._reading = False
            uv.stop_read()

    def wake_all(self) -> None:
        wake(self._input)
        wake(self._drain)


class _Shutdown:
    """What libuv calls when a stream has been shut down."""

    __slots__ = ("_result", "_transport")

    def __init__(self, transport: Transport, result: list[int]) -> None:
        self._transport = transport
        self._result = result

    def __call__(self, uv: Any, error: int | None) -> None:
        self._transport.hub.sleeping = False
        self._result.append(error or 0)
        wake(self._transport._drain)
