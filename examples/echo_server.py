"""An echo server with one thread per connection: ordinary code for `socketserver` and `threading`.

    $ python examples/echo_server.py --port 7000              # a thread of the OS per connection
    $ python -m greenify examples/echo_server.py --port 7000  # a greenlet per connection

It prints its address, sends back whatever it receives, and stops on SIGTERM or Ctrl-C: it closes
the connections, waits for their threads, and says how much it has echoed.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import socket
import socketserver
import sys
import threading
from typing import Any


class EchoHandler(socketserver.BaseRequestHandler):
    """Serves one connection, in a thread of its own."""

    request: socket.socket
    server: EchoServer

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65_536):
                self.request.sendall(data)
                self.server.count(len(data))


class EchoServer(socketserver.ThreadingTCPServer):
    """Knows its connections, so that it can end them."""

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, EchoHandler)
        self.connections = 0
        self.peak = 0
        self.echoed = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
            self.connections += 1
            self.peak = max(self.peak, len(self._open))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def count(self, size: int) -> None:
        with self._lock:
            self.echoed += size

    def stop(self) -> None:
        """Take no more connections, hang up on the handlers of the present ones, and join them."""
        self.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Echo what clients send.")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args()

    # Of the ways to wake a thread, SimpleQueue.put() is the one that signal handlers may use.
    stop: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.put(number))

    server = EchoServer((options.host, options.port))
    acceptor = threading.Thread(target=server.serve_forever)
    acceptor.start()
    host, port = server.socket.getsockname()
    print(f"listening on {host}:{port}", flush=True)
    stop.get()
    server.stop()
    acceptor.join()
    print(f"{server.connections} connections, {server.peak} at once, {server.echoed} bytes echoed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
