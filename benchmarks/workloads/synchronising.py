"""Locks and queues, uncontended and contended."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sample import Sample, timed

__all__ = [
    "condition_contended",
    "condition_free",
    "event_contended",
    "event_free",
    "fan_out",
    "held_in_turn",
    "held_alone",
    "ping_pong",
]

_HOLDERS: dict[str, Callable[[], Any]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "Semaphore": threading.Semaphore,
}


def _in_threads(number: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def held_alone(kind: str, operations: int) -> Sample:
    """A lock taken and given back, with nobody else about."""
    lock = _HOLDERS[kind]()

    def run() -> None:
        for _ in range(operations):
            with lock:
                pass

    return timed(operations, run)


def held_in_turn(kind: str, operations: int, threads: int = 10) -> Sample:
    """A lock that several threads want, and that is held across a switch."""
    lock = _HOLDERS[kind]()
    sleep = time.sleep

    def work() -> None:
        for _ in range(operations // threads):
            with lock:
                sleep(0)

    return timed(operations, lambda: _in_threads(threads, work))


def condition_free(operations: int) -> Sample:
    """A condition entered and notified, with nobody waiting."""
    condition = threading.Condition()

    def run() -> None:
        for _ in range(operations):
            with condition:
                condition.notify()

    return timed(operations, run)


def condition_contended(operations: int) -> Sample:
    """Two threads that hand a turn to each other."""
    condition = threading.Condition()
    turn = [0]

    def work(mine: int) -> None:
        for _ in range(operations):
            with condition:
                while turn[0] != mine:
                    condition.wait()
                turn[0] = 1 - mine
                condition.notify()

    def run() -> None:
        other = threading.Thread(target=work, args=(1,))
        other.start()
        work(0)
        other.join()

    return timed(operations, run)


def event_free(operations: int) -> Sample:
    """An event set, waited for and cleared by one thread."""
    event = threading.Event()

    def run() -> None:
        for _ in range(operations):
            event.set()
            event.wait()
            event.clear()

    return timed(operations, run)


def event_contended(operations: int) -> Sample:
    """Two threads that wake each other by an event each."""
    events = [threading.Event(), threading.Event()]

    def work(mine: int) -> None:
        for _ in range(operations):
            events[mine].wait()
            events[mine].clear()
            events[1 - mine].set()

    def run() -> None:
        other = threading.Thread(target=work, args=(1,))
        other.start()
        events[0].set()
        work(0)
        other.join()

    return timed(operations, run)


def ping_pong(kind: str, operations: int) -> Sample:
    """One item there, one back."""
    there, back = getattr(queue, kind)(), getattr(queue, kind)()

    def answer() -> None:
        for _ in range(operations):
            back.put(there.get())

    def run() -> None:
        other = threading.Thread(target=answer)
        other.start()
        for number in range(operations):
            there.put(number)
            back.get()
        other.join()

    return timed(operations, run)


def fan_out(kind: str, operations: int, consumers: int = 100) -> Sample:
    """One producer, many consumers."""
    items = getattr(queue, kind)()

    def consume() -> None:
        while items.get() is not None:
            pass

    def run() -> None:
        threads = [threading.Thread(target=consume) for _ in range(consumers)]
        for thread in threads:
            thread.start()
        for number in range(operations):
            items.put(number)
            if number % 100 == 99:
                time.sleep(0)
        for _ in threads:
            items.put(None)
        for thread in threads:
            thread.join()

    return timed(operations, run)
