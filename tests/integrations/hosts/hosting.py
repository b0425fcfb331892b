"""Servers started by their own commands, plain and under greenify, and many requests at once."""

from __future__ import annotations

import http.client
import importlib.metadata
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integrations.running import TIMEOUT, Running, started
from tests.libraries.servers import required

#: How many requests have to be under way at once.
MANY = 20

#: What stands in front of the program: nothing, for real threads are the control, or the launcher.
both_ways = pytest.mark.parametrize(
    "launcher", [(), ("-m", "greenify")], ids=["threads", "greenify"]
)

#: A WSGI application.  Each request waits for all the others, and says which thread of the system it runs on.
WSGI = f"""
import os, threading
barrier = threading.Barrier({MANY})

def app(environ, start_response):
    barrier.wait({TIMEOUT})
    body = os.readlink("/proc/thread-self").encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def needs(*distributions: str) -> None:
    """Skip the test if one is not installed; where they have to be, fail."""
    for name in distributions:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            (pytest.fail if required() else pytest.skip)(f"needs {name}: pip install '.[hosts]'")


class Host(Running):
    """A server that runs by itself: nothing more comes when it has ended."""

    port = 0

    def check(self) -> None:
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"

    def ask(self, path: str = "/") -> str:
        """The body of the answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, f"{answer.status}: {body}\n{self.log}"
        return body

    def ask_at_once(self, path: str = "/", times: int = MANY) -> list[str]:
        """The bodies of so many requests that are under way together."""
        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(self.ask, [path] * times))

    def stop(self, number: int = signal.SIGINT) -> int:
        """The exit code, after a signal."""
        return super().stop(number)


@contextmanager
def hosting(
    here: Path,
    launcher: Sequence[str],
    *command: str,
    program: str = WSGI,
    ready: str = r"http://127\.0\.0\.1:(\d+)",
    env: dict[str, str] | None = None,
) -> Iterator[Host]:
    """Run ``python LAUNCHER COMMAND`` in a folder with `program` as ``program.py``, while the block runs.

    The block begins when `ready` is found in the output; its group is the port.
    """
    (here / "program.py").write_text(program)
    with started([sys.executable, *launcher, *command], here, env or {}) as process:
        host = Host(here, process)
        host.port = int(host.until(ready)[-1])
        yield host


def check_threads(answers: list[str], launcher: Sequence[str]) -> None:
    """With real threads each request has had one of its own; under greenify all share the one."""
    assert len(answers) == MANY
    assert len(set(answers)) == (1 if launcher else MANY), answers
