"""requests, against nginx and against a server that takes its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import requests

from benchmarks.sample import Sample, timed

__all__ = ["fresh", "keep_alive", "slow_answers"]


def _share(operations: int, workers: int, work: Callable[[int], None]) -> Sample:
    def run() -> None:
        threads = [
            threading.Thread(target=work, args=(operations // workers,)) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return timed(operations, run)


def _check(response: requests.Response) -> None:
    if response.status_code != 200 or len(response.content) < 2:
        raise RuntimeError(f"unexpected answer {response.status_code}")


def keep_alive(operations: int, nginx: str, workers: int = 10) -> Sample:
    """One session per worker."""

    def work(number: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(number):
                _check(session.get(nginx))

    return _share(operations, workers, work)


def fresh(operations: int, nginx: str, workers: int = 10) -> Sample:
    """A connection per request."""

    def work(number: int) -> None:
        for _ in range(number):
            with requests.Session() as session:
                session.trust_env = False
                _check(session.get(nginx))

    return _share(operations, workers, work)


def slow_answers(operations: int, slow: str, workers: int = 1000) -> Sample:
    """Many workers, each waiting 200 ms for every answer."""

    def work(number: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(number):
                _check(session.get(slow))

    return _share(operations, workers, work)
