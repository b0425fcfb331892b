"""Local sockets (Unix domain), by path or abstract name."""

from __future__ import annotations

import _socket
import errno
import os
import stat
from typing import Any, TypeVar

from greenify import core
from greenify.core.loop import pyuv
from greenify.errors import UVError
from greenify.io.handles import claim
from greenify.io.listeners import Listener
from greenify.io.streams import READ_LIMIT, WRITE_LIMIT, Stream
from greenify.io.tcp import allowing
from greenify.io.transport import Transport

__all__ = ["PipeClient", "PipeServer", "PipeStream", "pipe_transport"]

T = TypeVar("T", bound=Transport)

Path = str | bytes | os.PathLike[str]


def pipe_transport(fd: int, name: str, kind: type[T]) -> T:
    """Give the descriptor of a pipe or a local socket to libuv."""
    try:
        hub = core.get_hub()
        transport = kind(hub, pyuv.Pipe(hub.loop.uv))
    except BaseException:
        os.close(fd)
        raise
    transport.name = name
    transport.open(fd)
    return transport


class PipeStream(Stream):
    """A connection over a local socket."""


class PipeClient(PipeStream):
    """Connect to a local socket; the object is the connection.

    Args:
        path: where the server listens; Linux: ``"\\0name"`` for an abstract name.
        timeout: how long each call may wait, in seconds, connecting included; None: no limit.
        read_limit: see `Stream`.
        write_limit: see `Stream`.

    Raises:
        UVError: nobody listens there.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout: float | None = None,
        read_limit: int = READ_LIMIT,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        shown = _shown(path)
        with allowing(timeout, f"connecting to {shown}"):
            fd = _connect(path, shown)
        transport = pipe_transport(fd, f"local connection to {shown}", Transport)
        super().__init__(transport, timeout=timeout, read_limit=read_limit, write_limit=write_limit)
        transport.start_reading()


def _shown(path: Path) -> str:
    return repr(os.fspath(path))


def _connect(path: Path, shown: str) -> int:
    # Not by libuv, which cuts long paths off in silence.
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            pause = 0.001
            while True:
                try:
                    sock.connect(os.fspath(path))
                    return claim(sock.detach())
                except BlockingIOError:
                    # The server's queue is full: there is nothing to wait on but time.
                    core.sleep(pause)
                    pause = min(2 * pause, 0.05)
        finally:
            sock.close()
    except OSError as exc:
        if isinstance(exc, UVError):
            raise
        raise _failed(exc, f"connecting to {shown}") from None


def _failed(exc: OSError, what: str) -> UVError:
    if exc.errno is None:
        # The path is too long, in the words of `socket`.
        return UVError(errno.ENAMETOOLONG, f"{what}: {exc}")
    return UVError.of(exc.errno, what)


class PipeServer(Listener[PipeStream]):
    """Listen on a local socket.

    Args:
        path: the file to make, which must not exist; it is removed when the server is closed.  Linux:
            ``"\\0name"`` for an abstract name, which has no file.
        backlog: how many connections may wait to be accepted.
        mode: the permissions of the file: who may connect; by default what the umask leaves.
        options: keyword arguments of `Stream` (timeout, read_limit, write_limit) for what is accepted.

    Attributes:
        address: the path.

    Raises:
        UVError: it cannot listen there.
    """

    def __init__(
        self, path: Path, *, backlog: int = 128, mode: int | None = None, **options: Any
    ) -> None:
        self.address: str | bytes = os.fspath(path)
        what = f"listening on {_shown(path)}"
        self._options = options
        self._file: tuple[int, int] | None = None
        self._pid = os.getpid()
        try:
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                sock.bind(self.address)
                if self.address[:1] not in ("\0", b"\0"):
                    found = os.stat(self.address)
                    self._file = (found.st_dev, found.st_ino)
                    if mode is not None:
                        os.chmod(self.address, mode)
                sock.listen(backlog)
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            self._remove()
            raise _failed(exc, what) from None
        super().__init__(sock, _shown(path))

    def _stream(self, fd: int, address: Any) -> PipeStream:
        transport = pipe_transport(fd, f"local connection on {self._name}", Transport)
        stream = PipeStream(transport, **self._options)
        transport.start_reading()
        return stream

    def _closing(self) -> None:
        # First: another server may come to listen there as soon as nobody does.
        self._remove()

    def _remove(self) -> None:
        """Remove the file, if it is still ours and not that of a successor."""
        if self._file is None or self._pid != os.getpid():
            return
        try:
            found = os.stat(self.address)
            if stat.S_ISSOCK(found.st_mode) and (found.st_dev, found.st_ino) == self._file:
                os.unlink(self.address)
        except FileNotFoundError:
            pass  # somebody was faster
        self._file = None
