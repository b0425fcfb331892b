"""Run the same thing under Python and under the launcher, and compare everything that can be seen."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import child_env

__all__ = ["Outcome", "assert_same", "run"]


@dataclass(frozen=True)
class Outcome:
    """What a run has left behind; addresses are blanked out."""

    code: int
    stdout: str
    stderr: str

    def shown(self) -> str:
        """All of it, for a failure's message."""
        return f"exit code {self.code}\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"


def run(
    options: Sequence[str],
    args: Sequence[str | Path],
    *,
    cwd: Path,
    input: bytes | None = None,
    env: dict[str, str] | None = None,
) -> Outcome:
    """Run ``python options args``; standard input is empty unless `input` is given."""
    finished = subprocess.run(
        [sys.executable, *options, *map(str, args)],
        cwd=cwd,
        input=input or b"",
        capture_output=True,
        # What is written and how it fails depends on it; the option -u has a test of its own.
        env=child_env({"PYTHONUNBUFFERED": ""} | (env or {})),
        timeout=60,
    )
    out, err = (
        re.sub(r"0x[0-9a-f]{6,}", "0x...", data.decode("utf-8", "backslashreplace"))
        for data in (finished.stdout, finished.stderr)
    )
    return Outcome(finished.returncode, out, err)


def assert_same(
    *args: str | Path,
    cwd: Path,
    python: Sequence[str] = (),
    launcher: Sequence[str] = (),
    input: bytes | None = None,
    env: dict[str, str] | None = None,
) -> Outcome:
    """``python ... args`` and ``python ... -m greenify args`` do the same; returns what that is."""
    expected = run(python, args, cwd=cwd, input=input, env=env)
    found = run([*python, "-m", "greenify", *launcher], args, cwd=cwd, input=input, env=env)
    if found != expected:
        raise AssertionError(
            f"not the same for {' '.join(map(str, args))}\n--- Python\n{expected.shown()}\n"
            f"--- greenify\n{found.shown()}"
        )
    return found
