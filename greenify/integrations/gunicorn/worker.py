"""The worker itself.

HTTP is gunicorn's: the base class parses requests and writes answers.  Here is what runs it: the patch, who
accepts, how many at once, and how a worker ends; in `connections`, how long a connection may be silent.
"""

from __future__ import annotations

import errno
import faulthandler
import gc
import os
import select
import signal
import ssl
import sys
import threading
import time
from contextlib import suppress
from math import inf
from typing import Any

from greenlet import getcurrent, greenlet
from gunicorn import sock as gunicorn_sock
from gunicorn.workers.base_async import AsyncWorker

from greenify.green._threads.watchdog import GRACE
from greenify.integrations.gunicorn.connections import (
    Connection,
    Head,
    Listener,
    Parked,
    Parking,
    patience,
)
from greenify.integrations.gunicorn.savings import save, set_apart
from greenify.integrations.late_patch import patch_late
from greenify.semaphores import Semaphore
from greenify.task import sleep, spawn
from greenify.timeout import Timeout
from greenify.watching import Report, Watch

__all__ = ["GreenifyWorker"]

#: Seconds that a worker which ends keeps silent connections, for a request that is under way.
LINGER = 2.0

# The part of the master's patience after which the error log is told who keeps the worker from notifying it.
_PART = 0.5

# What the master tells a worker by signals.
_ORDERS = frozenset({signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1})

# What accept() raises when a connection ended before it was taken; and when there is no room for another.
_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN, errno.EINTR})
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class GreenifyWorker(AsyncWorker):  # type: ignore[misc]
    """A worker of gunicorn that serves each connection in a green thread of its own.

    Name it as ``--worker-class greenify.integrations.gunicorn.GreenifyWorker`` or ``egg:greenify#greenify``.
    gunicorn makes it; programs do not.  After the fork, and before it imports the application, it calls
    `patch_all`; the master is left as it is.  What ``--preload`` has imported before is adapted, and a line
    of the error log says what was out of reach.

    Settings of gunicorn that mean something particular here:
        worker_connections: how many connections a worker has at a time; further ones wait in the backlog.
        timeout: seconds after which the master kills a worker in which nothing but one call runs (C code that
            does not let others run).  Before that, the error log is told who keeps the others waiting, and
            gets all stacks if no Python code can run.  It is also the time in which the head of a
            connection's first request has to arrive, unless `keepalive` is 0.  0 means no limit.
        keepalive: seconds in which the head of each further request of a connection has to arrive.  One
            that is silent for a quarter of a second gives up its thread (sooner if there are more than a
            hundred, and it is not busy); its next request gets another.
        graceful_timeout: seconds for the requests that run when the worker ends.
        threads: not used.
    """

    alive: bool  # gunicorn's: whether the worker is to go on

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By the greenlet: a threading.local would cost a request more than what is kept there.
        self._heads: dict[greenlet, Head] = {}
        self._connections: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None
        self._slots: Semaphore
        self._parking: Parking
        self._parkable = False  # whether connections may be

    # The start.

    def init_process(self) -> None:
        # Until gunicorn sets the worker's handlers, signals would find the master's, and be lost: an order to
        # end that comes while the patch takes its tenth of a second has to wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
        self._patch()
        self._slots = Semaphore(self.worker_connections)
        self._parking = Parking(self._resume, self._closed)
        # What goes on is a new connection to gunicorn's parser; these look at a connection's first bytes.
        self._parkable = (
            not self.cfg.is_ssl
            and self.cfg.proxy_protocol in (False, "off")
            and getattr(self.cfg, "protocol", "http") == "http"
            and "h2" not in getattr(self.cfg, "http_protocols", ())
        )
        save(self.cfg)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        set_apart()

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)

    def _patch(self) -> None:
        patch = patch_late()
        late = self.cfg.preload_app and patch.made
        if late:
            self.log.info(
                "greenify: --preload has imported the application before the patch; %d references and "
                "objects from before were adapted",
                patch.adapted,
            )
        remedy = (
            "leave --preload out, or start with: python -m greenify -m gunicorn"
            if late
            else "import it in the application, or start with: python -m greenify -m gunicorn"
        )
        for text in patch.out_of_reach:
            self.log.warning("greenify: %s (%s)", text, remedy)

    def run(self) -> None:
        """Serve until the worker is told to end, and then until its requests are answered."""
        if self.cfg.is_ssl:
            self._tls = gunicorn_sock.ssl_context(self.cfg)
        accepting = [spawn(self._accept, listener) for listener in self.sockets]
        seconds = _PART * (self.cfg.timeout or 0)
        watch = Watch(seconds, self._blocked, patience=seconds, alarm=inf) if seconds else None
        try:
            while self.alive:
                self.notify()
                self._pause()
            for task in accepting:
                task.kill()
            for task in accepting:
                task.join()
            for listener in self.sockets:
                listener.close()
            self._drain()
        finally:
            faulthandler.cancel_dump_traceback_later()
            if watch is not None:
                watch.stop()
            gc.unfreeze()  # what ends with the process is collected, finalisers and all

    def notify(self) -> None:
        """Tell the master that the worker lives; end it when the master does not."""
        super().notify()
        self._watch()
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False

    def _watch(self) -> None:
        """Have the stacks written if nothing calls this again before the master loses its patience."""
        timeout = self.cfg.timeout
        if timeout:
            # By a native thread of faulthandler's, which needs no turn of ours and not even the GIL; without
            # the GIL it comes later, and that, too, has to be before the master does.
            seconds = max(timeout / 2, min(0.9 * timeout, 0.95 * timeout - GRACE))
            faulthandler.dump_traceback_later(seconds, file=self._log_file())

    def _blocked(self, report: Report) -> None:
        """On a native thread: somebody keeps the worker from notifying the master."""
        if not report.ended:
            self.log.error(
                "greenify: the master will kill this worker (pid:%s) if this goes on: %s",
                self.pid,
                report,
            )

    def _log_file(self) -> Any:
        for handler in self.log.error_log.handlers:
            stream = getattr(handler, "stream", None)
            # What has no descriptor cannot be written to from C.
            with suppress(AttributeError, OSError, ValueError):
                if stream is not None and stream.fileno() >= 0:
                    return stream
        return sys.__stderr__  # the descriptor 2, even where the program has exchanged sys.stderr

    # Waiting for signals, for the reloader, and for the request that is one too many.

    def _pause(self, seconds: float = 1.0) -> None:
        if self.cfg.timeout:
            seconds = min(seconds, self.cfg.timeout / 4)
        reading, _, _ = select.select([self.PIPE[0]], [], [], seconds)
        if reading:
            with suppress(BlockingIOError):
                os.read(self.PIPE[0], 4096)

    def _wake(self) -> None:
        # Full, it wakes as well.
        with suppress(BlockingIOError):
            os.write(self.PIPE[1], b".")

    # Connections.

    def _accept(self, listener: Any) -> None:
        single = len(self.sockets) == 1
        listener.setblocking(single)
        name = Listener(listener)
        alone = self.cfg.workers == 1
        while self.alive:
            if not single:
                # Who waits for a connection with a place in its hand keeps it from the other listeners.
                select.select([listener], [], [])
            self._slots.acquire()
            try:
                client, address = listener.accept()
            except OSError as exc:
                self._slots.release()
                if exc.errno in _FULL:
                    self.log.warning("Connections have to wait: %s", exc)
                    sleep(0.1)
                elif exc.errno not in _GONE:
                    self.log.exception("Connections cannot be accepted: the worker ends")
                    self.alive = False
                    self._wake()
                    return
                continue
            self._start(Connection(client), name, address)
            if not alone:
                sleep(0)  # the next one may be for another worker, which has less to do

    def _start(self, connection: Connection, listener: Listener, address: Any) -> None:
        self._connections.add(connection)
        thread = threading.Thread(
            target=self._serve, args=(connection, listener, address), daemon=True
        )
        # Who starts a thread waits until it runs, a whole round under load: let that be somebody else.
        spawn(thread.start)

    def _serve(self, connection: Connection, listener: Listener, address: Any) -> None:
        client: Any = connection.sock
        here = getcurrent()
        head = self._heads[here] = Head(connection)
        try:
            client.setblocking(True)
            if self._tls is not None:
                client = connection.sock = self._tls.wrap_socket(
                    client,
                    server_side=True,
                    suppress_ragged_eofs=self.cfg.suppress_ragged_eofs,
                    do_handshake_on_connect=False,
                )
                if not self._shake_hands(client):
                    return
            self.handle(listener, client, address)
        finally:
            del self._heads[here]
            head.cancel()
            client.close()
            self._connections.discard(connection)
            if connection.parked is not None:
                waited = head.seconds or 0
                self._parking.add(Parked(listener, connection.parked, address, head.rest, waited))
            else:
                self._closed()

    def _resume(self, parked: Parked) -> None:
        connection = Connection(parked.sock, used=True, busy=parked.is_busy())
        self._start(connection, parked.listener, parked.address)

    def _closed(self) -> None:
        self._slots.release()
        if not self.alive:
            self._wake()

    def _shake_hands(self, client: ssl.SSLSocket) -> bool:
        try:
            with Timeout(self.cfg.timeout or None, TimeoutError("no TLS handshake in time")):
                client.do_handshake()
        except OSError as exc:
            self.log.debug("TLS handshake failed: %s", exc)
            return False
        return True

    def timeout_ctx(self) -> Head:
        """The time for the head of the next request on the connection of the calling thread."""
        head = self._heads[getcurrent()]
        head.give_way()
        cfg = self.cfg
        connection = head.connection
        seconds = cfg.keepalive if connection.used else cfg.timeout or None
        return head.within(seconds, patience(len(self._connections), connection.busy))

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Answer one request, in the thread of its connection."""
        self._heads[getcurrent()].connection.answering(req, self._parkable)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            if not self.alive:
                self._wake()

    def handle_http2_request(self, *args: Any) -> Any:
        """Answer one request of an HTTP/2 connection, in the connection's thread."""
        connection = self._heads[getcurrent()].connection
        connection.waiting = False
        try:
            return super().handle_http2_request(*args)
        finally:
            connection.waiting = True
            if not self.alive:
                self._wake()

    # The end.

    def _drain(self) -> None:
        start = time.monotonic()
        linger = min(LINGER, self.cfg.keepalive)
        while self._connections or self._parking:
            self.notify()
            passed = time.monotonic() - start
            if passed >= self.cfg.graceful_timeout:
                self.log.warning(
                    "Worker graceful timeout (pid:%s), connections closed: %d",
                    self.pid,
                    len(self._connections),
                )
                return
            if passed >= linger:
                self._parking.close()
                for connection in list(self._connections):
                    if connection.waiting:
                        connection.hang_up()
            stage = linger if passed < linger else self.cfg.graceful_timeout
            self._pause(min(1.0, max(0.0, stage - passed)))
