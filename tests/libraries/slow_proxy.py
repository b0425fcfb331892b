"""A proxy that keeps requests waiting, in front of a server of MongoDB's protocol that never waits.

It forwards each message as it is.  What a request says in its ``comment`` happens before:

- ``wait 300``: it is forwarded 300 milliseconds later;
- ``cut``: the connection is closed instead.

Run it as a program, with the server's host and port: it prints its own port, and ends when its standard input
does.  It knows nothing of greenify and imports nothing of the client.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import sys
import threading
import time

_WAIT = re.compile(rb"\0wait (\d+)\0")
_CUT = b"\0cut\0"


class Connection(socketserver.StreamRequestHandler):
    """One connection of a client's, and the one to the server that stands for it."""

    disable_nagle_algorithm = True
    behind: tuple[str, int]

    def handle(self) -> None:
        # Who has given up a request is no longer there when it is answered.
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self.behind) as server,
        ):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = threading.Thread(target=self._answers, args=(server,), daemon=True)
            answers.start()
            while (message := self._message()) is not None and _CUT not in message:
                asked = _WAIT.search(message)
                if asked is not None:
                    time.sleep(int(asked[1]) / 1000)
                server.sendall(message)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        super().finish()

    def _message(self) -> bytes | None:
        """The next one whole, or None at the end: it begins with its length, 32 bits little endian."""
        head = self.rfile.read(4)
        if len(head) < 4:
            return None
        return head + self.rfile.read(int.from_bytes(head, "little") - 4)

    def _answers(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                self.connection.sendall(data)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    Connection.behind = sys.argv[1], int(sys.argv[2])
    with Proxy(("127.0.0.1", 0), Connection) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        print(proxy.server_address[1], flush=True)
        sys.stdin.read()
        proxy.shutdown()


if __name__ == "__main__":
    main()
