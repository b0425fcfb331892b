"""How long an answer about many threads takes: ``python -m benchmarks.asking [-n THREADS] [KIND ...]``.

For each kind of wait a process of its own, which can be asked from its beginning and makes the threads; then
it is asked as ``ps`` asks, through its socket, the first time and some times more.  Told are the time until
the answer is there, the processor time of the process meanwhile, and that in units of a fixed piece of work
that the process has measured before: both times double on a busy machine.  Linux, for the processor time.
"""

# ruff: noqa: E402 - the patch comes first, as in a program

from __future__ import annotations

import greenify

greenify.patch_all()

import argparse
import queue
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from greenify import inspect
from greenify.core import slices
from greenify.inspect.asking import ask

__all__ = ["main"]

_LONG = 1_000.0
_native_sleep = greenify.original("time").sleep
_event, _lock, _queue = threading.Event(), threading.Lock(), queue.Queue[object]()
_keeper = threading.Thread(target=time.sleep, args=(_LONG,), daemon=True)
_ends: list[socket.socket] = []
_open: list[socket.socket] = []


def _recv() -> Callable[[], object]:
    # Both ends wait, for a process may have 20,000 descriptors.
    if not _ends:
        _ends.extend(socket.socketpair())
    end = _ends.pop()
    _open.append(end)
    return lambda: end.recv(1)


def _within() -> None:
    with _lock:
        pass


# Each gives what one thread does.
_KINDS: dict[str, Callable[[], Callable[[], object]]] = {
    "sleep": lambda: lambda: time.sleep(_LONG),
    "lock": lambda: lambda: _lock.acquire(),
    "with": lambda: _within,
    "recv": _recv,
    "queue": lambda: lambda: _queue.get(),
    "join": lambda: lambda: _keeper.join(),
    "event": lambda: lambda: _event.wait(),
    "ready": lambda: lambda: _event.wait(),
}


def _unit() -> float:
    begun = time.thread_time()
    table: dict[int, tuple[int]] = {}
    for number in range(50_000):
        table[number % 1000] = (number,)
    return time.thread_time() - begun


def _wait(kind: str, number: int) -> None:
    inspect.listen()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with _lock:
        _keeper.start()
        for _ in range(number):
            threading.Thread(target=_KINDS[kind](), daemon=True).start()
        time.sleep(0.05)
        print(min(_unit() for _ in range(5)), flush=True)
        if kind == "ready":
            # Nobody runs, for the loop is blocked.
            slices.allow(False)
            _event.set()
            _native_sleep(_LONG)
        time.sleep(_LONG)


def _used(pid: int) -> float:
    """The processor time of a process, in seconds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def _measure(kind: str, number: int) -> None:
    command = [sys.executable, "-m", "benchmarks.asking", "--here", "-n", str(number), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            unit = float(process.stdout.readline())
            took = []
            for _ in range(8):
                used, begun = _used(process.pid), time.monotonic()
                rows = len(ask(process.pid, "snapshot")["rows"])
                took.append((time.monotonic() - begun, _used(process.pid) - used))
                assert rows >= number, rows
        finally:
            process.kill()
    wall, used = took[0]
    later = min(used for _, used in took[1:])
    print(
        f"{kind:6} {number} threads: first {wall:.3f} s, {used:.3f} s of the processor "
        f"({used / unit:.0f} units); later {min(wall for wall, _ in took[1:]):.3f} s, {later:.3f} s "
        f"({later / unit:.0f} units)",
        flush=True,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asking", description=__doc__)
    parser.add_argument("-n", "--number", type=int, default=10_000)
    parser.add_argument("kinds", nargs="*", default=list(_KINDS), metavar="KIND")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for kind in asked.kinds:
        (_wait if asked.here else _measure)(kind, asked.number)


if __name__ == "__main__":
    main()
