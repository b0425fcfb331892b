"""The same scenario with real threads over the native primitives, and with tasks over greenify's.

`LAYERS` parametrizes a test over both: what the one does is what the other has to do.
"""

from __future__ import annotations

import _thread
import queue as native_queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenify import core, event, locks, queue
from greenify.local import local
from greenify.task import Task, spawn

LONG = 30.0  # seconds: a wait that is expected to end by something else

Start = Callable[..., "Job"]


class Job:
    """A function that runs in a thread or a task: `join` gives its result or raises its error."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function = function
        self.args = args
        self.outcome: list[Any] = []
        self.handle: Any = None

    def run(self) -> None:
        try:
            self.outcome.append((True, self.function(*self.args)))
        except BaseException as exc:
            self.outcome.append((False, exc))

    @property
    def ended(self) -> bool:
        return bool(self.outcome)

    def join(self, timeout: float = LONG) -> Any:
        self.handle.join(timeout)
        assert self.outcome, f"{self.function} has not ended"
        worked, value = self.outcome[0]
        if not worked:
            raise value
        return value


class Layer:
    """One kind of thread, with the primitives that go with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        green = name == "green"
        self.Lock: Any = locks.Lock if green else _thread.allocate_lock
        self.RLock: Any = locks.RLock if green else threading.RLock
        self.Event: Any = event.Event if green else threading.Event
        self.SimpleQueue: Any = queue.SimpleQueue if green else native_queue.SimpleQueue
        self.local: Any = local if green else threading.local

    def __repr__(self) -> str:
        return self.name

    def start(self, function: Callable[..., Any], *args: Any) -> Job:
        """Run a call in a thread of this kind."""
        job = Job(function, *args)
        if self.name == "green":
            job.handle = spawn(job.run)
        else:
            job.handle = threading.Thread(target=job.run, daemon=True)
            job.handle.start()
        return job

    def settle(self, waiting: Callable[[], bool] = lambda: False) -> None:
        """Let the threads run until `waiting()`, or (tasks) until each of them waits."""
        if self.name == "green":
            settle()
        else:
            # Nobody can say that a real thread waits, only that it has had the time to.
            for _ in range(50):
                if waiting():
                    break
                core.sleep(0.001)


LAYERS = [Layer("native"), Layer("green")]
both = pytest.mark.parametrize("layer", LAYERS, ids=repr)
GREEN = LAYERS[1]


def settle(rounds: int = 6) -> None:
    """Let everything that is ready run until it waits."""
    for _ in range(rounds):
        core.sleep(0)


def task_of(job: Job) -> Task[Any]:
    """The task that runs a job of the green layer."""
    found: Task[Any] = job.handle
    return found


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returned, or the class and text of the error it raised."""
    try:
        return function(*args, **kwargs)
    except Exception as exc:
        return type(exc), str(exc)


def repeat(seconds: float) -> Iterator[None]:
    """A loop that lasts about `seconds`."""
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
