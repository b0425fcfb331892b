"""A client that costs the same whatever it talks to: one epoll loop in a process of its own.

Arguments: port, number of connections, number of round trips, size of a message.  It connects a control
connection, then the others, says ``R`` on the control connection once each has echoed a message, waits for a
byte, makes the round trips, all connections at once, and says ``D``.
"""

from __future__ import annotations

import select
import socket
import sys

__all__ = ["main"]


def _receive(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        if not data:
            raise ConnectionError("the server has hung up")
        size -= len(data)


def _round_trips(socks: dict[int, socket.socket], operations: int, message: bytes) -> None:
    queue = select.epoll()
    missing = {}
    for fd, sock in socks.items():
        queue.register(fd, select.EPOLLIN)
        missing[fd] = len(message)
        sock.send(message)
    under_way = len(socks)
    left = operations - under_way
    while under_way:
        for fd, _ in queue.poll():
            sock = socks[fd]
            data = sock.recv(missing[fd])
            if not data:
                raise ConnectionError("the server has hung up")
            missing[fd] -= len(data)
            if missing[fd]:
                continue
            if left > 0:
                left -= 1
                missing[fd] = len(message)
                sock.send(message)
            else:
                under_way -= 1
    queue.close()


def main() -> None:
    """Do what the module says."""
    port, connections, operations, size = map(int, sys.argv[1:])
    address = ("127.0.0.1", port)
    control = socket.create_connection(address)
    socks = {}
    message = b"x" * size
    for _ in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        # One after the other, so that the server has accepted it and its thread has run.
        sock.sendall(message)
        _receive(sock, size)
    control.sendall(b"R")
    _receive(control, 1)
    _round_trips(socks, operations, message)
    control.sendall(b"D")
    _receive(control, 1)


if __name__ == "__main__":
    main()
