"""StreamServer: one task for each connection, with a bound on how many there are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from greenify.core.clock import monotonic as _monotonic
from greenify.errors import HubError, StreamClosedError, TaskExit, UVError
from greenify.event import Event
from greenify.io.listeners import Listener
from greenify.io.pipes import PipeServer
from greenify.io.streams import Stream
from greenify.io.tcp import Address, TCPServer
from greenify.semaphores import Semaphore
from greenify.task import Task, current

if TYPE_CHECKING:
    import ssl

__all__ = ["StreamServer"]


# How long to wait, in seconds, for a descriptor when there is none for the next connection.
_PAUSE = 0.1


class _Connection(Task[None]):
    """The task of one connection."""

    def __init__(self, server: StreamServer, stream: Stream) -> None:
        super().__init__(name=f"{server.name}: {stream.name}")
        self._server = server
        self.stream = stream
        self._observer = server._ended

    def run(self) -> None:
        server = self._server
        with self.stream as stream:
            if server.tls is not None:
                timeout = stream.timeout
                stream.timeout = server.handshake_timeout
                try:
                    stream.start_tls(server.tls, server_side=True)
                except OSError as exc:  # ssl.SSLError is one
                    # The peer's fault, or a port scan; nothing that the handler could have caught.
                    logging.getLogger("greenify").info("%s: no TLS: %s", self.name, exc)
                    return
                stream.timeout = timeout
            server.handle(stream)


class StreamServer:
    """Call ``handle(stream)``, in a task of its own, for every connection::

        with StreamServer(("127.0.0.1", 7000), handle) as server:
            server.serve_forever()

    The stream is closed when `handle` returns.  An error that leaves it is reported to the ``greenify``
    logger, once, with the peer's name, and ends that connection only.

    Args:
        address: (host, port), as for `TCPServer`; or the path of a local socket, as for `PipeServer`.
        handle: called with a `TCPStream` or a `PipeStream`.
        limit: how many connections are served at once; further ones wait in the kernel's queue.
        tls: an `ssl.SSLContext` with a certificate: `handle` is called after the handshake.
        handshake_timeout: how long a handshake may take, in seconds; None: no limit.
        grace: how long the end of a ``with`` block waits for the connections, in seconds, before it kills
            their tasks; None: no limit.
        name: for messages.
        options: further arguments of `TCPServer` or `PipeServer`: backlog, reuse_port or mode, and those of
            the streams (timeout, read_limit, write_limit).

    Attributes:
        address: where it really listens, once it has been started.
    """

    def __init__(
        self,
        address: Address | str | bytes | os.PathLike[str],
        handle: Callable[[Any], object],
        *,
        limit: int = 1000,
        tls: ssl.SSLContext | None = None,
        handshake_timeout: float | None = 30.0,
        grace: float | None = 5.0,
        name: str = "StreamServer",
        **options: Any,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: a server needs at least one connection")
        self.address: Any = address
        self.handle = handle
        self.limit = limit
        self.tls = tls
        self.handshake_timeout = handshake_timeout
        self.grace = grace
        self.name = name
        self._options = options
        self._permits = Semaphore(limit)
        self._listener: Listener[Any] | None = None
        self._acceptor: Task[None] | None = None
        self._connections: set[_Connection] = set()
        self._stopped = Event()
        self._finished = Event()

    def __repr__(self) -> str:
        return f"<{self.name} at {self.address!r} with {len(self._connections)} connections>"

    @property
    def connections(self) -> int:
        """How many connections are being served."""
        return len(self._connections)

    def start(self) -> None:
        """Listen, and accept in a task.

        Raises:
            HubError: it has been started before.
            UVError: it cannot listen there.
        """
        if self._acceptor is not None:
            raise HubError(f"{self!r} has been started before: make another")
        listener: Listener[Any]
        if isinstance(self.address, tuple):
            listener = TCPServer(self.address, **self._options)
            self.address = listener.address
        else:
            listener = PipeServer(self.address, **self._options)
        self._listener = listener
        self._acceptor = Task(self._accept, name=f"{self.name} at {self.address}", args=(listener,))
        self._acceptor.start()

    def _accept(self, listener: Listener[Any]) -> None:
        short = False
        try:
            while True:
                self._permits.acquire()
                try:
                    stream = listener.accept()
                except StreamClosedError:
                    return
                except UVError as exc:
                    self._permits.release()
                    if not short:
                        logging.getLogger("greenify").error("%s: %s; trying again", self.name, exc)
                    short = True
                    if self._stopped.wait(_PAUSE):
                        return
                else:
                    short = False
                    self._serve(stream)
        finally:
            # However it ends: a queue that nobody accepts from would keep clients waiting.
            listener.close()

    def _serve(self, stream: Stream) -> None:
        task = _Connection(self, stream)
        self._connections.add(task)
        task.start()

    def _ended(self, task: Task[Any]) -> None:
        # In every case: a task that is killed before it begins never runs.
        assert isinstance(task, _Connection)
        task.stream.abort()
        self._connections.discard(task)
        self._permits.release()
        error = task.exception
        if error is not None and not isinstance(error, (TaskExit, GreenletExit)):
            task._report(error)

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more, wait for the connections to end, and after `timeout` kill their tasks.

        Again, it waits again.  Any thread may call it, and a handler too, whose own task is left alone.
        Connections that have not been accepted yet are cut.

        Args:
            timeout: seconds; None: no limit.

        Returns:
            Whether all have ended by themselves.
        """
        deadline = None if timeout is None else _monotonic() + timeout
        self._stopped.set()
        try:
            return self._stop(deadline)
        finally:
            self._finished.set()

    def _stop(self, deadline: float | None) -> bool:
        if self._listener is not None:
            self._listener.close()
        if self._acceptor is not None:
            # It may wait for a connection to end.
            self._acceptor.kill()
            self._acceptor.join()
        others = [task for task in tuple(self._connections) if task is not current()]
        for task in others:
            task.join(None if deadline is None else max(0.0, deadline - _monotonic()))
        late = [task for task in others if task.alive]
        for task in late:
            task.kill()
        for task in late:
            task.join()
        return not late

    def serve_forever(self) -> None:
        """Start, unless it has been started, and wait until `stop` has been called and has done its work."""
        if self._acceptor is None:
            self.start()
        self._finished.wait()

    def __enter__(self) -> StreamServer:
        if self._acceptor is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop(self.grace)
