"""Threads themselves: switching, starting, sleeping, thread-local data, memory, idleness."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.sample import Sample, timed

__all__ = ["idle", "parked", "read_local", "sleepers", "spawn", "switch", "write_local"]


def switch(operations: int) -> Sample:
    """``time.sleep(0)`` in two threads by turns."""
    sleep = time.sleep

    def work() -> None:
        for _ in range(operations // 2):
            sleep(0)

    def run() -> None:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return timed(operations, run)


def spawn(operations: int) -> Sample:
    """A thread started and joined."""

    def run() -> None:
        for _ in range(operations):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

    return timed(operations, run)


def sleepers(threads: int, naps: int) -> Sample:
    """Many threads that sleep several times, between 100 and 200 ms, in different orders.

    The cost is processor time per nap, with starting and joining, for the naps themselves cost the same.
    """

    def work(number: int) -> None:
        for nap in range(naps):
            time.sleep(0.1 + (number * 7919 + nap * 104729) % 1000 / 10000)

    begun = time.process_time()
    everybody = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in everybody:
        thread.start()
    for thread in everybody:
        thread.join()
    return Sample((time.process_time() - begun) / (threads * naps))


def _in_a_thread(work: Callable[[], Sample]) -> Sample:
    # Where programs use thread-local data.
    result: list[Sample] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join()
    return result[0]


def read_local(operations: int) -> Sample:
    """An attribute of a `threading.local` read."""
    data = threading.local()

    def run() -> None:
        for _ in range(operations):
            data.value  # noqa: B018

    def work() -> Sample:
        data.value = 1
        return timed(operations, run)

    return _in_a_thread(work)


def write_local(operations: int) -> Sample:
    """An attribute of a `threading.local` set."""
    data = threading.local()

    def run() -> None:
        for number in range(operations):
            data.value = number

    return _in_a_thread(lambda: timed(operations, run))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def parked(threads: int) -> Sample:
    """Bytes of memory per thread that waits for an event."""
    event = threading.Event()
    arrived = threading.Semaphore(0)

    def work() -> None:
        arrived.release()
        event.wait()

    def start(number: int) -> list[threading.Thread]:
        everybody = [threading.Thread(target=work) for _ in range(number)]
        for thread in everybody:
            thread.start()
            arrived.acquire()
        time.sleep(0.05)  # for the last one to get from the semaphore to the event
        return everybody

    first = start(10)
    before = _resident()
    others = start(threads)
    memory = (_resident() - before) / threads
    event.set()
    for thread in first + others:
        thread.join()
    return Sample(memory)


def crowd(threads: int) -> Sample:
    """Seconds for each thread to start, of as many as all wait at once, and what each takes.

    Further rows: bytes per thread (``memory-``); seconds for each to end (``end-``), and to start for the
    first and the last tenth of them.
    """
    name = f"threads-{threads}"
    event = threading.Event()
    arrived = threading.Semaphore(0)

    def work() -> None:
        arrived.release()
        event.wait()

    tenth = threads // 10
    before = _resident()
    everybody = []
    times = [time.perf_counter()]
    for _ in range(10):
        for _ in range(tenth):
            thread = threading.Thread(target=work)
            thread.start()
            arrived.acquire()
            everybody.append(thread)
        times.append(time.perf_counter())
    memory = (_resident() - before) / threads
    begun = time.perf_counter()
    event.set()
    for thread in everybody:
        thread.join()
    seconds = {
        f"end-{name}": (time.perf_counter() - begun) / threads,
        f"first-tenth-{name}": (times[1] - times[0]) / tenth,
        f"last-tenth-{name}": (times[10] - times[9]) / tenth,
    }
    return Sample((times[-1] - times[0]) / threads, {f"memory-{name}": memory}, seconds)


def idle(seconds: float) -> Sample:
    """How often the process wakes up per second while its threads wait for what never comes."""
    event = threading.Event()
    threads = [threading.Thread(target=event.wait) for _ in range(10)]
    threads += [threading.Thread(target=event.wait, args=(3600,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    time.sleep(seconds)
    woken = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    event.set()
    for thread in threads:
        thread.join()
    return Sample(woken / seconds)
