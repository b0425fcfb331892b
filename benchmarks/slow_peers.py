"""Servers that answer after as many seconds as asked: ``python -m benchmarks.slow_peers zmq PORT``."""

from __future__ import annotations

import sys
import time
from concurrent import futures
from importlib import import_module
from typing import Any

__all__ = ["main"]

_DONE = b"done"


def _zmq(port: int) -> None:
    zmq: Any = import_module("zmq")
    front = zmq.Context.instance().socket(zmq.ROUTER)
    front.bind(f"tcp://127.0.0.1:{port}")
    # Who waits for an answer, in the order of the times when they are due.
    due: list[tuple[float, list[bytes]]] = []
    while True:
        left = max(0.0, due[0][0] - time.monotonic()) * 1000 if due else None
        if front.poll(left):
            *address, seconds = front.recv_multipart()
            due.append((time.monotonic() + float(seconds), address))
            due.sort()
        while due and due[0][0] <= time.monotonic():
            front.send_multipart([*due.pop(0)[1], _DONE])


def _wait(seconds: bytes, _context: object) -> bytes:
    time.sleep(float(seconds))
    return _DONE


def _grpc(port: int) -> None:
    grpc: Any = import_module("grpc")
    handler = grpc.method_handlers_generic_handler(
        "benchmark", {"wait": grpc.unary_unary_rpc_method_handler(_wait)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(100), handlers=[handler])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def main() -> None:
    """Serve until the process is ended."""
    {"zmq": _zmq, "grpc": _grpc}[sys.argv[1]](int(sys.argv[2]))


if __name__ == "__main__":
    main()
