"""The application of the celery rows: its worker writes down how long a number of tasks have taken it.

``BENCHMARK_REDIS`` is where the broker is, ``BENCHMARK_TASKS`` the number, ``BENCHMARK_RESULT`` the file for
the seconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import requests
from celery import Celery

__all__ = ["app"]

_redis = os.environ["BENCHMARK_REDIS"]
_number = int(os.environ["BENCHMARK_TASKS"])
_result = Path(os.environ["BENCHMARK_RESULT"])

app = Celery("benchmark", broker=f"{_redis}0", backend=f"{_redis}1")
app.conf.broker_connection_retry_on_startup = True
app.conf.result_expires = 60

_begun: list[float] = []
_ended: list[None] = []


def _end() -> None:
    # What a list does is atomic, also for threads.
    _ended.append(None)
    if len(_ended) == _number:
        seconds = time.perf_counter() - min(_begun)
        part = _result.with_suffix(".part")
        part.write_text(str(seconds))
        part.rename(_result)


@app.task(name="nap")  # type: ignore[untyped-decorator]
def nap(url: str) -> None:
    """Sleep for 0.1 s."""
    _begun.append(time.perf_counter())
    time.sleep(0.1)
    _end()


@app.task(name="fetch")  # type: ignore[untyped-decorator]
def fetch(url: str) -> int:
    """Ask a server once, on a connection of its own; the length of the answer."""
    _begun.append(time.perf_counter())
    with requests.Session() as session:
        session.trust_env = False
        length = len(session.get(url).content)
    _end()
    return length
