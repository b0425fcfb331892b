"""How long an answer about many threads takes: ``python -m benchmarks.asking [-n THREADS] [KIND ...]``.

For each kind of wait a process of its own, which makes the threads and has the answer made that ``ps`` gets,
the first time and some times more.  Processor time of the answering thread, and that time in units of a fixed
piece of work that is measured in the same moments: the time itself doubles on a busy machine.
"""

# ruff: noqa: E402 - the patch comes first, as in a program

from __future__ import annotations

import greenify

greenify.patch_all()

import argparse
import os
import queue
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median

from greenify.inspect.answers import answer

__all__ = ["main"]

_LONG = 1_000.0
_event, _lock, _queue = threading.Event(), threading.Lock(), queue.Queue[object]()
_keeper = threading.Thread(target=time.sleep, args=(_LONG,), daemon=True)
_pairs: list[tuple[socket.socket, socket.socket]] = []


def _recv() -> Callable[[], object]:
    pair = socket.socketpair()
    _pairs.append(pair)
    return lambda: pair[0].recv(1)


# Each gives what one thread does.
_KINDS: dict[str, Callable[[], Callable[[], object]]] = {
    "sleep": lambda: lambda: time.sleep(_LONG),
    "lock": lambda: _lock.acquire,
    "recv": _recv,
    "queue": lambda: _queue.get,
    "join": lambda: _keeper.join,
    "event": lambda: _event.wait,
    "ready": lambda: _event.wait,
}


def _unit() -> float:
    begun = time.thread_time()
    table: dict[int, tuple[int]] = {}
    for number in range(50_000):
        table[number % 1000] = (number,)
    return time.thread_time() - begun


def _asked() -> float:
    begun = time.thread_time()
    answer(b'{"ask": "snapshot"}')
    return time.thread_time() - begun


def _measure(kind: str, number: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _keeper.start()
    _lock.acquire()
    for _ in range(number):
        threading.Thread(target=_KINDS[kind](), daemon=True).start()
    time.sleep(0.01)
    unit = min(_unit() for _ in range(5))
    if kind == "ready":
        _event.set()
    first = _asked()
    if kind == "ready":  # a time slice may end behind it, and the threads do
        print(
            f"{kind:6} {number} threads: first {first:.3f} s ({first / unit:.0f} units)", flush=True
        )
        os._exit(0)
    later = [(_asked(), _unit()) for _ in range(9)]
    print(
        f"{kind:6} {number} threads: first {first:.3f} s ({first / unit:.0f} units), later at best "
        f"{min(took for took, _ in later):.3f} s ({median(took / one for took, one in later):.0f} units)",
        flush=True,
    )
    os._exit(0)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asking", description=__doc__)
    parser.add_argument("-n", "--number", type=int, default=9_000)
    parser.add_argument("kinds", nargs="*", default=list(_KINDS), metavar="KIND")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        _measure(asked.kinds[0], asked.number)
    for kind in asked.kinds:
        command = [sys.executable, "-m", "benchmarks.asking", "--here", "-n", str(asked.number)]
        subprocess.run([*command, kind], check=True)


if __name__ == "__main__":
    main()
