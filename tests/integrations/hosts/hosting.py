"""Servers started by their own commands, plain and under greenify, and many requests at once."""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.libraries.servers import required
from tests.support import child_env

TIMEOUT = 60.0

#: How many requests have to be under way at once.
MANY = 20

#: What stands in front of the program: nothing, for real threads are the control, or the launcher.
both_ways = pytest.mark.parametrize(
    "launcher", [(), ("-m", "greenify")], ids=["threads", "greenify"]
)

#: A WSGI application.  Each request waits for all the others, and says which thread of the system it runs on.
WSGI = f"""
import threading
barrier = threading.Barrier({MANY})

def app(environ, start_response):
    barrier.wait({TIMEOUT})
    body = str(threading.get_native_id()).encode()
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


@dataclass
class Host:
    """A program that runs; its output goes to a file."""

    here: Path
    process: subprocess.Popen[bytes]
    port: int = 0

    @property
    def log(self) -> str:
        return (self.here / "log").read_text(errors="backslashreplace")

    def until(self, pattern: str, times: int = 1) -> list[str]:
        """What a pattern has found in the output as soon as it has found so much."""
        deadline = time.monotonic() + TIMEOUT
        while len(found := re.findall(pattern, self.log)) < times:
            assert time.monotonic() < deadline, f"no {pattern!r} in\n{self.log}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            time.sleep(0.02)
        return found

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
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


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
    with (here / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *launcher, *command],
            cwd=here,
            env=child_env(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    host = Host(here, process)
    try:
        host.port = int(host.until(ready)[-1])
        yield host
    finally:
        # The group is gone when all has ended in order.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def check_threads(answers: list[str], launcher: Sequence[str]) -> None:
    """With real threads each request has had one of its own; under greenify all share the one."""
    assert len(answers) == MANY
    assert len(set(answers)) == (1 if launcher else MANY), answers
