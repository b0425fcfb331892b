"""The socket by which this process is asked, answered by a native thread of greenify's own.

So it answers while the loop is blocked, as long as the interpreter lock is given up now and then.  Nobody but
the user himself (and root) gets anything; who stays silent, sends rubbish or does not read is let go after
some seconds, and keeps nobody else waiting.

The thread sleeps in the kernel while nobody asks.  It is stopped for a fork and started again after it: a
process with one thread forks more safely, and CPython 3.12 warns of others.  A child has a socket of its own.
"""

from __future__ import annotations

import _socket
import atexit
import errno
import os
from typing import Any

from greenify.core import descriptor_set, placement, registry, waiters
from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.core.native import start_hidden
from greenify.inspect import since, starts
from greenify.inspect.answers import answer
from greenify.inspect.places import directory, peer_uid, socket_name

__all__ = ["close", "listen"]

_poll = descriptor_set._poll
_close = os.close
_read = os.read
_write = os.write
_native_lock = waiters._native_lock

_IN, _OUT, _END = 1, 4, 8 | 16 | 32  # POLLIN, POLLOUT; POLLERR, POLLHUP, POLLNVAL

# The longest request, in bytes; how many may be under way; how many seconds a peer has for each step.
_LONGEST = 65_536
_PEERS = 16
_PATIENCE = 5.0
# How long `stop` waits for the thread, in seconds: for the answer that it is making.
_STOP = 5.0

# How often, and after how many seconds each, it is tried to open a socket again.
_ATTEMPTS = 40
_BREAK = 0.05


class _Peer:
    """Somebody who asks."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.answer = memoryview(b"")
        self.until = _monotonic() + _PATIENCE

    @property
    def events(self) -> int:
        """What to wait for."""
        return _OUT if self.answer else _IN

    def step(self) -> bool:
        """Go on as far as possible without waiting; False at the end."""
        try:
            if not self.answer:
                data = self.sock.recv(_LONGEST)
                self.received += data
                if b"\n" not in self.received:
                    return bool(data) and len(self.received) < _LONGEST
                self.answer = memoryview(answer(bytes(self.received.partition(b"\n")[0])))
            self.answer = self.answer[self.sock.send(self.answer) :]
        except BlockingIOError:
            return True
        except OSError:
            return False  # it has gone
        self.until = _monotonic() + _PATIENCE
        return bool(self.answer)


# The numbers that the thread sleeps on lie so far above those of the hubs.  Linux looks at the numbers again
# when something has come: of those that the program has closed it then learns, if they are still free.  A hub
# that the program gets afterwards would have taken them, and the thread would have slept for ever.
_ABOVE = 64


def _high(fd: int, above: int = 0) -> int:
    """`fd` under a high number, out of the program's way."""
    copy = placement.high_copy(fd, above)
    if copy < 0 and above:
        copy = placement.high_copy(fd)
    if copy < 0:
        return fd
    _close(fd)
    return copy


class _Server:
    """The listening socket, its peers and the thread that serves them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid = os.getpid()
        self._peers: dict[int, _Peer] = {}
        self._over = False
        self._running = _native_lock()
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.sock = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=_high(sock.detach(), _ABOVE)
        )
        try:
            _take_place(path)
            # Under another name until it listens: others remove what nobody listens on (`_take_place`).
            early = f"{path}.new"
            if os.path.lexists(early):
                os.unlink(early)
            self.sock.bind(early)
            os.chmod(early, 0o600)
            self.sock.listen(_PEERS)
            os.rename(early, path)
            self.sock.settimeout(0.0)
            self._reader, self._writer = (_high(fd, _ABOVE) for fd in os.pipe())
        except BaseException:
            self.sock.close()
            raise
        self.fds = (self.sock.fileno(), self._reader, self._writer)
        self._files = {fd: _identity(fd) for fd in self.fds}
        if None in self._files.values():
            self.release()
            raise OSError(errno.EBADF, "closed by the program")

    def start(self) -> None:
        """Serve, on a native thread."""
        self._over = False
        self._running.acquire()
        try:
            start_hidden(self._run, ours=True)
        except BaseException:
            self._running.release()
            raise

    def stop(self) -> None:
        """End the thread, and wait for that.  Peers that are being served stay."""
        self._over = True
        try:
            _write(self._writer, b"\0")
        except OSError:
            return  # the program has closed it: the thread ends at its next look
        if self._running.acquire(True, _STOP):
            self._running.release()

    def _run(self) -> None:
        try:
            while not self._over:
                if not self._serve():
                    break
        finally:
            self._running.release()
        if not self._over:
            _open_again(self)

    def _serve(self) -> bool:
        """Wait for news and deal with it; False if the socket is not ours any more."""
        poll = _poll()
        poll.register(self._reader, _IN)
        if len(self._peers) < _PEERS:
            poll.register(self.sock.fileno(), _IN)
        for fd, peer in self._peers.items():
            poll.register(fd, peer.events)
        left = min((peer.until for peer in self._peers.values()), default=None)
        timeout = None if left is None else max(0, int((left - _monotonic()) * 1000) + 1)
        # Here at the latest: whoever waits has the files themselves, whatever becomes of their numbers.  And
        # from the last of these looks on nobody else has the interpreter until the kernel waits.
        if any(_identity(fd) != file for fd, file in self._files.items()):
            return False
        for fd, _ in poll.poll(timeout):
            if fd in self._files and _identity(fd) != self._files[fd]:
                # The program has closed the number, and may have another file under it.
                return False
            if fd == self._reader:
                _read(fd, 4096)
            elif fd == self.sock.fileno():
                self._accept()
            elif fd in self._peers and not self._peers[fd].step():
                self._drop(fd)
        now = _monotonic()
        for fd in [fd for fd, peer in self._peers.items() if peer.until <= now]:
            self._drop(fd)
        return True

    def _accept(self) -> None:
        try:
            number, _ = self.sock._accept()  # type: ignore[attr-defined]
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                _native_pause(0.1)  # it stays in the queue
            return
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=_high(number))
        sock.settimeout(0.0)
        if peer_uid(sock) not in (os.geteuid(), 0):
            sock.close()
            return
        self._peers[sock.fileno()] = _Peer(sock)

    def _drop(self, fd: int) -> None:
        self._peers.pop(fd).sock.close()

    def release(self) -> None:
        """Close everything.  Not while the thread runs."""
        for fd in tuple(self._peers):
            self._drop(fd)
        self.sock.detach()
        for fd, file in self._files.items():
            # The program may have closed it, and have another file under the number.
            if file is not None and _identity(fd) == file:
                _close(fd)

    def remove(self) -> None:
        """Remove the socket's name, if it is this process's."""
        if self.pid == os.getpid():
            try:
                os.unlink(self.path)
            except OSError:
                pass  # somebody has tidied up


def _native_pause(seconds: float) -> None:
    lock: Any = _native_lock()
    lock.acquire()
    lock.acquire(True, seconds)


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _take_place(path: str) -> None:
    """Remove the sockets in our directory that nobody listens on any more.

    One under our own name is replaced in one step: who asks while we have none tries again.
    """
    folder = os.path.dirname(path)
    for name in os.listdir(folder):
        if not name.endswith(".sock"):
            continue
        other = os.path.join(folder, name)
        if other == path:
            continue
        probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            probe.settimeout(0.0)
            probe.connect(other)
        except ConnectionRefusedError:
            try:
                os.unlink(other)
            except FileNotFoundError:
                pass  # another process tidies up, too
        except OSError:
            pass  # busy: it lives
        finally:
            probe.close()


_server: _Server | None = None


def listen() -> str:
    """Let this user ask the process who waits for what, with ``python -m greenify ps PID``.

    Opens a socket that nobody else may use, and starts a native thread that answers.  Any thread may call it;
    a second call does nothing.  It ends with the process, or by `close`; a forked child has a socket of its
    own.  From here on it is written down who starts whom, for ``tree``, and since when each thread and task
    waits or is ready, which costs a wait and its end two tenths of a microsecond to four.

    Returns:
        The socket's path.

    Raises:
        PermissionError: there is no directory for it that belongs to this user alone.
        OSError: the socket cannot be made.
    """
    global _server
    if _server is None:
        server = _Server(os.path.join(directory(), socket_name(os.getpid())))
        server.start()
        _server = server
        for hub in tuple(registry.hubs):
            _hide(hub)
        starts.record()
        since.note()
    return _server.path


def _open_again(server: _Server) -> None:
    """The program has closed the descriptors of `server`, as daemons do: have others.  On its thread."""
    global _server
    if _server is server:
        _server = None
        server.release()
        for _ in range(_ATTEMPTS):
            try:
                listen()
            except OSError as exc:
                if exc.errno not in (errno.EBADF, errno.ENOTSOCK):
                    return  # none left, or no directory any more: the program goes on without
                # It is in the middle of closing them, one after the other, and has closed a new one, too.
                _native_pause(_BREAK)
            else:
                return


def close() -> None:
    """Close the socket of `listen`, if there is one."""
    global _server
    server, _server = _server, None
    if server is not None:
        since.forget()
        server.stop()
        for hub in tuple(registry.hubs):
            hub.private_fds.difference_update(server.fds)
        server.remove()
        server.release()


def _hide(hub: Any) -> None:
    """Spare our descriptors when the program closes whole ranges of them."""
    if _server is not None:
        hub.private_fds.update(_server.fds)


def _before_fork() -> None:
    if _server is not None:
        _server.stop()


def _after_in_parent() -> None:
    if _server is not None:
        _server.start()


def _after_in_child() -> None:
    global _server
    server, _server = _server, None
    if server is not None:
        since.forget()
        server.release()
        try:
            listen()
        except OSError:
            pass  # no descriptor left, or no directory any more: the child goes on without


registry.on_new_hub(_hide)
os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent)
fork_hooks.append(_after_in_child)
atexit.register(close)
