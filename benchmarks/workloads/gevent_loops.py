"""gevent on different loops: what a loop costs below gevent's own code.

The layers of these rows set ``GEVENT_LOOP``; the programs are gevent's idiom and the same for all.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time

from benchmarks.sample import Sample, timed

__all__ = ["ping_pong", "short_sleeps", "signals", "sleep_zero", "timers"]


def ping_pong(operations: int) -> Sample:
    """A byte there and back between two greenlets."""
    import gevent
    from gevent import socket

    near, far = socket.socketpair()

    def serve() -> None:
        for _ in range(operations):
            far.send(far.recv(1))

    def ask() -> None:
        for _ in range(operations):
            near.send(b"x")
            near.recv(1)

    return timed(
        operations,
        lambda: gevent.joinall([gevent.spawn(serve), gevent.spawn(ask)], raise_error=True),
    )


def sleep_zero(operations: int) -> Sample:
    """``gevent.sleep(0)`` in two greenlets by turns."""
    import gevent

    def work() -> None:
        for _ in range(operations // 2):
            gevent.sleep(0)

    return timed(operations, lambda: gevent.joinall([gevent.spawn(work) for _ in range(2)]))


def timers(operations: int) -> Sample:
    """A time-out set and taken back."""
    import gevent

    def run() -> None:
        for _ in range(operations):
            gevent.Timeout.start_new(30).close()

    return timed(operations, run)


def short_sleeps(operations: int) -> Sample:
    """How late a sleep of 0.3 ms ends; the median."""
    import gevent

    late = []
    for _ in range(operations):
        begun = time.perf_counter()
        gevent.sleep(0.0003)
        late.append(time.perf_counter() - begun - 0.0003)
    return Sample(statistics.median(late))


def signals(operations: int) -> Sample:
    """From a signal's being sent, by another process, to its Python handler; the median."""
    from gevent.event import Event

    late: list[float] = []
    # One at a time: the next is sent when this has been handled.
    sender = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, signal, sys, time\n"
            "for line in sys.stdin:\n"
            "    time.sleep(0.02)\n"
            "    print(time.monotonic_ns(), flush=True)\n"
            f"    os.kill({os.getpid()}, signal.SIGUSR1)\n",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert sender.stdin is not None
    assert sender.stdout is not None
    handled: list[int] = []
    done = Event()

    def handler(number: int, frame: object) -> None:
        handled.append(time.monotonic_ns())
        done.set()

    signal.signal(signal.SIGUSR1, handler)
    for _ in range(operations):
        sender.stdin.write("go\n")
        while not handled:
            # Nothing but the signal, a tick, or the end of the whole second interrupts the loop.
            done.wait(1)
        done.clear()
        late.append((handled.pop() - int(sender.stdout.readline())) / 1e9)
    sender.stdin.close()
    sender.wait()
    return Sample(statistics.median(late))
