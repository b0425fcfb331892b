"""A program that runs in a folder of its own and writes a log there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import child_env

TIMEOUT = 60.0


class Running:
    """The running program."""

    def __init__(self, here: Path, process: subprocess.Popen[bytes], log: str = "log") -> None:
        self.here = here
        self.process = process
        self._log = here / log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    def until(self, pattern: str, times: int = 1) -> list[str]:
        """What a pattern has found in the log as soon as it has found so much."""
        deadline = time.monotonic() + TIMEOUT
        while len(found := re.findall(pattern, self.log)) < times:
            assert time.monotonic() < deadline, f"no {pattern!r} in\n{self.log}"
            self.check()
            time.sleep(0.02)
        return found

    def check(self) -> None:
        """Whether it makes sense to wait on: a program that has ended may have children that write."""

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


@contextmanager
def started(
    command: Sequence[str],
    here: Path,
    env: Mapping[str, str],
    log: str = "log",
    stdin: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and kill it and its children at the end of the block."""
    (here / log).touch()
    with (here / log).open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=here,
            env=child_env(env),
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # The group is gone when the program has ended in order.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
