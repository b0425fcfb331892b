"""A worker of celery with places for 1,000 tasks, on Redis: seconds for a task, results stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.layers import LAYERS
from benchmarks.sample import Sample

__all__ = ["fetching", "napping"]

# How a worker is told to use a layer.
_POOLS = {"greenify": "custom", "gevent": "gevent", "threads": "threads"}


def napping(operations: int, enter: str, redis: str) -> Sample:
    """Tasks that sleep for 0.1 s."""
    return _work("nap", operations, enter, redis, "")


def fetching(operations: int, enter: str, redis: str, nginx: str) -> Sample:
    """Tasks that ask nginx once."""
    return _work("fetch", operations, enter, redis, nginx)


def _work(name: str, operations: int, enter: str, redis: str, url: str) -> Sample:
    from celery import Celery

    pool = next(pool for layer, pool in _POOLS.items() if LAYERS[layer].enter == enter)
    queue = f"{pool}-{os.getpid()}"
    # All messages are there when the worker starts.
    with Celery(broker=f"{redis}0", set_as_current=False) as app:
        for _ in range(operations):
            app.send_task(name, (url,), queue=queue)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "seconds")
        _run_worker(pool, queue, result, operations, redis)
        return Sample(float(result.read_text()) / operations)


def _run_worker(pool: str, queue: str, result: Path, operations: int, redis: str) -> None:
    env = os.environ | {
        "CELERY_CUSTOM_WORKER_POOL": "greenify.integrations.celery:TaskPool",
        "BENCHMARK_REDIS": redis,
        "BENCHMARK_TASKS": str(operations),
        "BENCHMARK_RESULT": str(result),
    }
    command = [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", "worker", "-P", pool),
        *("-c", "1000", "-Q", queue, "-n", queue, "-l", "WARNING"),
    ]
    with (result.parent / "log").open("wb") as log:
        worker = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while not result.exists():
                if worker.poll() is not None:
                    raise RuntimeError((result.parent / "log").read_text()[-2000:])
                time.sleep(0.05)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
