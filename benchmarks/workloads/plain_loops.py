"""The floor: the same system calls in a plain loop, with no scheduling: the limit of one thread."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sample import Sample, timed
from benchmarks.workloads.network import start_driver, tcp_pairs, tls_pair
from benchmarks.workloads.waiting import WAYS

__all__ = [
    "accept",
    "echo",
    "fresh",
    "keep_alive",
    "serve_driver",
    "subprocesses",
    "tls_echo",
    "udp",
    "waits",
]


def echo(
    connections: int, operations: int, size: int = 100, timeout: float | None = None
) -> Sample:
    """Each connection in turn: four calls, each of which finds what it wants."""
    pairs = tcp_pairs(connections)
    message = b"x" * size

    def run() -> None:
        for _ in range(operations // connections):
            for client, server in pairs:
                client.sendall(message)
                _pass_on(server, client, size)

    sample = timed(operations, run)
    for pair in pairs:
        for sock in pair:
            sock.close()
    return sample


def _pass_on(server: Any, client: Any, size: int) -> None:
    for source, target in ((server, client), (client, None)):
        data = source.recv(65536)
        missing = size - len(data)
        if missing:
            pieces = [data]
            while missing > 0:
                pieces.append(source.recv(65536))
                missing -= len(pieces[-1])
            data = b"".join(pieces)
        if target is not None:
            source.sendall(data)


def tls_echo(connections: int, operations: int, certificate: str, size: int = 100) -> Sample:
    """`echo` over TLS."""
    import threading

    client_context, server_context = tls_pair(certificate)
    pairs: list[tuple[Any, Any]] = []
    for client, server in tcp_pairs(connections):
        wrapped: list[Any] = []
        other = threading.Thread(
            target=lambda s=server, w=wrapped: w.append(
                server_context.wrap_socket(s, server_side=True)
            )
        )
        other.start()
        own = client_context.wrap_socket(client, server_hostname="localhost")
        other.join()
        pairs.append((own, wrapped[0]))
    message = b"x" * size

    def run() -> None:
        for _ in range(operations // connections):
            for client, server in pairs:
                client.sendall(message)
                server.sendall(server.recv(65536))
                client.recv(65536)

    return timed(operations, run)


def serve_driver(connections: int, operations: int, size: int = 100) -> Sample:
    """The server with one loop around its kernel queue: the least that so many connections cost."""
    queue = select.epoll()
    socks: dict[int, socket.socket] = {}

    def serve(control: int) -> None:
        while True:
            for fd, _ in queue.poll():
                if fd == control:
                    return
                socks[fd].sendall(socks[fd].recv(65536))

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server, queue:
        driver, control = start_driver(server, connections, operations, size)
        for _ in range(connections):
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(sock.recv(65536))
            socks[sock.fileno()] = sock
            queue.register(sock, select.EPOLLIN | select.EPOLLET)
        if control.recv(1) != b"R":
            raise RuntimeError("the driver has failed")
        queue.register(control, select.EPOLLIN)
        begun = time.process_time()
        control.sendall(b"G")
        serve(control.fileno())
        cost = (time.process_time() - begun) / operations
        if control.recv(1) != b"D":
            raise RuntimeError("the driver has failed")
        control.sendall(b"E")
        control.close()
        driver.wait()
    for sock in socks.values():
        sock.close()
    return Sample(cost)


def keep_alive(operations: int, nginx: str) -> Sample:
    """Processor time of requests itself: one plain thread and no scheduling."""
    from benchmarks.workloads import web  # which needs requests

    return _used(operations, lambda: web.keep_alive(operations, nginx, workers=1))


def fresh(operations: int, nginx: str) -> Sample:
    """As `keep_alive`, a connection per request."""
    from benchmarks.workloads import web

    return _used(operations, lambda: web.fresh(operations, nginx, workers=1))


def _used(operations: int, run: Callable[[], object]) -> Sample:
    begun = time.process_time()
    run()
    return Sample((time.process_time() - begun) / operations)


def accept(operations: int) -> Sample:
    """Connections made, accepted and closed."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        address = server.getsockname()

        def run() -> None:
            for _ in range(operations):
                client = socket.create_connection(address)
                server.accept()[0].close()
                client.close()

        return timed(operations, run)


def udp(operations: int) -> Sample:
    """Datagrams there and back."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()

        def run() -> None:
            for _ in range(operations):
                client.sendto(b"x" * 100, address)
                data, peer = server.recvfrom(2048)
                server.sendto(data, peer)
                client.recvfrom(2048)

        return timed(operations, run)


def waits(way: str, operations: int) -> Sample:
    """A byte there and back; each wait finds its byte."""
    one, two = socket.socketpair()
    wait_one: Callable[[], Any] = WAYS[way](one)
    wait_two: Callable[[], Any] = WAYS[way](two)

    def run() -> None:
        for _ in range(operations):
            one.send(b"x")
            wait_two()
            two.recv(10)
            two.send(b"x")
            wait_one()
            one.recv(10)

    return timed(operations, run)


def subprocesses(operations: int, threads: int = 1) -> Sample:
    """Programs run to their end, one after the other, by nothing but system calls."""

    def run() -> None:
        for _ in range(operations):
            reader, writer = os.pipe()
            actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
            pid = os.posix_spawnp("true", ["true"], os.environ, file_actions=actions)
            os.close(writer)
            select.select([reader], [], [])
            os.read(reader, 10)
            os.close(reader)
            os.waitpid(pid, 0)

    return timed(operations, run)
