"""Run one of gevent's test modules in a process of its own and find out how it went."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import ROOT

__all__ = ["TIMEOUT", "Outcome", "attempt", "run"]

#: Seconds; gevent's own runner allows 100 on an idle machine.
TIMEOUT = 300.0

# A module that fails is given another chance this many times, on either loop: many tests measure times.
_RETRIES = 2

_FAILED = re.compile(r"^(?:FAIL|ERROR): (\S+) \(\S*?([^.()\s]+?)(?:\.\w+)?\)", re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests?", re.MULTILINE)
_SKIPPED = re.compile(r"skipped=(\d+)")

# Settings that would change what the tests do.
_FOREIGN = (
    "GEVENT",
    "PYTHON",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
)


@dataclass(frozen=True)
class Outcome:
    """How a module ended on one loop.

    Attributes:
        ended: "ok", "failed", "timeout", or the signal that killed it.
        failed: the tests that failed, as ``Class.method``; empty if the module is no unittest.
        ran: how many tests ran.
        skipped: how many of them were skipped.
        seconds: how long it took.
        output: all that it printed.
    """

    ended: str
    failed: frozenset[str]
    ran: int
    skipped: int
    seconds: float
    output: str

    def __str__(self) -> str:
        if self.ended == "ok":
            return f"ok {self.ran - self.skipped}"
        return f"{self.ended} {len(self.failed)}/{self.ran}" if self.ran else self.ended


def run(module: str, loop: str, python: str = sys.executable, timeout: float = TIMEOUT) -> Outcome:
    """Run ``gevent.tests.<module>`` on `loop` (a value of GEVENT_LOOP).

    A module that is not over after `timeout` seconds is killed with all its children.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    env["GEVENT_LOOP"] = loop
    # As gevent's own runner does: some modules import their neighbours, or open them.
    folder = str(Path(tests_package(python)).parent)
    env["PYTHONPATH"] = os.pathsep.join((str(ROOT), folder))
    env["PYTHONFAULTHANDLER"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    begun = time.monotonic()
    process = subprocess.Popen(
        [python, "-m", f"gevent.tests.{module}"],
        # A pipe, not a file: some tests watch the standard streams.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=folder,
        start_new_session=True,
    )
    late = False
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        # faulthandler prints the stacks.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        _kill(process)
        output, _ = process.communicate()
    finally:
        _kill(process)
    text = output.decode("utf-8", "backslashreplace")
    code = process.returncode
    if late:
        ended = "timeout"
    elif code < 0:
        ended = signal.Signals(-code).name
    else:
        ended = "failed" if code else "ok"
    ran = [int(number) for number in _RAN.findall(text)]
    skipped = _SKIPPED.findall(text)
    return Outcome(
        ended=ended,
        failed=frozenset(f"{owner}.{test}" for test, owner in _FAILED.findall(text)),
        ran=ran[-1] if ran else 0,
        skipped=int(skipped[-1]) if skipped else 0,
        seconds=time.monotonic() - begun,
        output=text,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@cache
def tests_package(python: str) -> str:
    """The file of the package of gevent's tests that `python` imports."""
    code = "import importlib.util as u; print(u.find_spec('gevent.tests').origin)"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def attempt(
    module: str, loop: str, python: str = sys.executable, timeout: float = TIMEOUT
) -> Outcome:
    """Run a module until it passes, a few times at most; the best outcome counts."""
    outcome = run(module, loop, python, timeout)
    for _ in range(_RETRIES):
        if outcome.ended == "ok":
            break
        again = run(module, loop, python, timeout)
        if again.ended == "ok" or len(again.failed) < len(outcome.failed):
            outcome = again
    return outcome
