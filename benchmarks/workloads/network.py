"""Sockets: echo, TLS, accepting, datagrams."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.sample import Sample, timed

__all__ = [
    "accept",
    "echo",
    "receive",
    "serve_driver",
    "start_driver",
    "tcp_pairs",
    "tls_echo",
    "tls_pair",
    "udp",
]


def tcp_pairs(number: int) -> list[tuple[socket.socket, socket.socket]]:
    """Connected TCP sockets over the loopback interface, without Nagle's delay."""
    pairs = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(number):
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            for sock in (client, accepted):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pairs.append((client, accepted))
    return pairs


def receive(sock: Any, size: int) -> bytes:
    """A whole message of `size` bytes, or nothing at the end of the connection."""
    data: bytes = sock.recv(65536)
    if len(data) == size or not data:
        return data
    pieces = [data]
    size -= len(data)
    while size > 0:
        data = sock.recv(65536)
        pieces.append(data)
        size -= len(data)
    return b"".join(pieces)


def _serve(sock: Any, size: int) -> None:
    while True:
        message = receive(sock, size)
        if not message:
            break
        sock.sendall(message)
    sock.close()


def _ask(sock: Any, size: int, operations: int) -> None:
    message = b"x" * size
    for _ in range(operations):
        sock.sendall(message)
        receive(sock, size)
    sock.close()


def _run_all(calls: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
    threads = [threading.Thread(target=function, args=args) for function, args in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def echo(
    connections: int, operations: int, size: int = 100, timeout: float | None = None
) -> Sample:
    """Round trips, one thread at each end of each connection, all in this process."""
    pairs = tcp_pairs(connections)
    calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
    for client, server in pairs:
        client.settimeout(timeout)
        server.settimeout(timeout)
        calls += [(_serve, (server, size)), (_ask, (client, size, operations // connections))]
    return timed(operations, lambda: _run_all(calls))


def tls_pair(certificate: str) -> tuple[Any, Any]:
    """Both contexts of a TLS connection."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(Path(certificate).with_name("ca.pem")))
    return client, server


def tls_echo(connections: int, operations: int, certificate: str, size: int = 100) -> Sample:
    """`echo` over TLS; the handshakes are not part of it."""
    client_context, server_context = tls_pair(certificate)
    ends: list[Any] = []

    def shake(context: ssl.SSLContext, sock: socket.socket, **how: Any) -> None:
        ends.append((how.get("server_side", False), context.wrap_socket(sock, **how)))

    for client, server in tcp_pairs(connections):
        other = threading.Thread(
            target=shake, args=(server_context, server), kwargs={"server_side": True}
        )
        other.start()
        shake(client_context, client, server_hostname="localhost")
        other.join()
    each = operations // connections
    calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
        (_serve, (sock, size)) if serving else (_ask, (sock, size, each)) for serving, sock in ends
    ]
    return timed(operations, lambda: _run_all(calls))


def accept(operations: int) -> Sample:
    """Connections made, accepted and closed."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        address = server.getsockname()

        def connect() -> None:
            for _ in range(operations):
                socket.create_connection(address).close()

        def run() -> None:
            thread = threading.Thread(target=connect)
            thread.start()
            for _ in range(operations):
                server.accept()[0].close()
            thread.join()

        return timed(operations, run)


def udp(operations: int) -> Sample:
    """Datagrams there and back."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()

        def serve() -> None:
            for _ in range(operations):
                data, peer = server.recvfrom(2048)
                server.sendto(data, peer)

        def run() -> None:
            thread = threading.Thread(target=serve)
            thread.start()
            for _ in range(operations):
                client.sendto(b"x" * 100, address)
                client.recvfrom(2048)
            thread.join()

        return timed(operations, run)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def start_driver(
    server: socket.socket, connections: int, operations: int, size: int
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The client of `serve_driver`, and its control connection."""
    arguments = (server.getsockname()[1], connections, operations, size)
    driver = subprocess.Popen([sys.executable, "-m", "benchmarks.driver", *map(str, arguments)])
    return driver, server.accept()[0]


def serve_driver(connections: int, operations: int, size: int = 100) -> Sample:
    """An echo server, a thread per connection, for a client in another process (`benchmarks.driver`).

    The cost is the server's processor time, so the client's speed does not matter; the memory is that of
    a connection which waits, with its thread.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        driver, control = start_driver(server, connections, operations, size)
        before = _resident()

        def accept_all() -> None:
            for _ in range(connections):
                sock, _ = server.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=_serve, args=(sock, size)))
                threads[-1].start()

        threads = [threading.Thread(target=accept_all)]
        threads[0].start()
        if control.recv(1) != b"R":
            raise RuntimeError("the driver has failed")
        memory = (_resident() - before) / connections
        begun = time.process_time()
        control.sendall(b"G")
        if control.recv(1) != b"D":
            raise RuntimeError("the driver has failed")
        cost = (time.process_time() - begun) / operations
        control.sendall(b"E")
        control.close()
        driver.wait()
        for thread in threads:
            thread.join()
    return Sample(cost, {f"memory-connection-{connections}": memory})
