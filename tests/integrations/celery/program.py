"""The application that the workers of the tests run; the tests send its tasks by their names."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded

import greenify

PATCHED_AT_IMPORT = greenify.is_patched("thread")

# What only C code holds cannot be adapted.
PAUSES = map(time.sleep, [1])

app = Celery("program", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_heartbeat=2,
    beat_schedule={"tick": {"task": "tick", "schedule": 0.1}},
    worker_pool=os.environ.get("POOL"),
)
if "VISIBILITY" in os.environ:
    # On Redis: after so many seconds a message that nobody has acknowledged is given out again.
    app.conf.broker_transport_options = {
        "visibility_timeout": float(os.environ["VISIBILITY"]),
        "unacked_restore_interval": 0.2,
        "unacked_restore_throttle": 1,
    }

gates: dict[str, threading.Event] = defaultdict(threading.Event)
inside: dict[str, int] = defaultdict(int)


@app.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="patched")
def patched() -> tuple[bool, str]:
    return PATCHED_AT_IMPORT, threading.current_thread().name


@app.task(name="wait")
def wait(gate: str) -> str:
    """Waits in the process, until `open_gate`; says how it has ended."""
    inside[gate] += 1
    try:
        gates[gate].wait()
        return "went on"
    except SoftTimeLimitExceeded:
        return "soft"
    finally:
        inside[gate] -= 1


@app.task(name="open_gate")
def open_gate(gate: str) -> None:
    gates[gate].set()


@app.task(name="count")
def count(gate: str) -> int:
    return inside[gate]


@app.task(name="stubborn", bind=True, max_retries=3)
def stubborn(self: object, gate: str, then: str) -> str:
    """Catches what ends it, and goes on to an end of its own."""
    inside[gate] += 1
    try:
        if then == "apply":
            return str(stubborn.apply((gate, "return")).get())
        threading.Event().wait()
    except BaseException:
        if then == "raise":
            raise ValueError("late") from None
        if then == "retry":
            raise self.retry(countdown=0) from None  # type: ignore[attr-defined]
        if then == "reject":
            raise Reject("late", requeue=True) from None
    finally:
        inside[gate] -= 1
    return "late"


@app.task(name="follows")
def follows(result: object) -> object:
    return result


def _insist(gate: str) -> None:
    while not gates[gate].is_set():
        try:
            gates[gate].wait()
        except BaseException as exc:
            print(f"is told: {exc!r}", flush=True)


@app.task(name="deaf")
def deaf(gate: str) -> str:
    """Goes on until `open_gate`, whatever it is told."""
    _insist(gate)
    return "late"


@app.task(name="given_back", acks_late=True, acks_on_timeout=False)
def given_back(gate: str) -> str:
    """As `deaf`, but it is given out again after its time limit."""
    print(f"run of {gate}", flush=True)
    inside[gate] += 1
    if inside[gate] == 1:
        _insist(gate)
    return f"run {inside[gate]}"


@app.task(name="compute")
def compute() -> None:
    while True:
        pass


@app.task(name="sit")
def sit(seconds: int) -> None:
    """Sits in a call of C that no signal ends, until a process does."""
    reader, writer = os.pipe()
    with subprocess.Popen(["sleep", str(seconds)], stdout=writer):
        os.close(writer)
        ctypes.CDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
    os.close(reader)


@app.task(name="hold", acks_late=True)
def hold(path: str, number: int) -> int:
    """Waits for a file, whichever worker runs it."""
    print(f"holds {number}", flush=True)
    while not Path(path).exists():
        time.sleep(0.02)
    return number


@app.task(name="swallow", acks_late=True)
def swallow(path: str, number: int) -> int:
    """As `hold`, but returns when it is told to end."""
    try:
        return int(hold.run(path, number))
    except BaseException:
        return -1


@app.task(name="retry", bind=True, max_retries=3)
def retry(self: object) -> int:
    request = self.request  # type: ignore[attr-defined]
    if request.retries < 2:
        raise self.retry(countdown=0.05)  # type: ignore[attr-defined]
    return int(request.retries)


@app.task(name="nested")
def nested(numbers: list[int]) -> int:
    """Waits for other tasks."""
    results = [add.delay(number, number) for number in numbers]
    return sum(result.get(timeout=60) for result in results)


@app.task(name="tick")
def tick() -> None:
    print("a tick", flush=True)
