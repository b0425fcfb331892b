"""Run a program that uses the bare engine in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import run_python, running_python

ENV = {"PYTHONPATH": str(Path(__file__).resolve().parent / "child")}


def run(code: str, *args: object, timeout: float = 30, options: Sequence[str] = ()) -> str:
    """Run `code`, which has to exit with 0 and an empty standard error; returns what it printed."""
    result = run_python(
        code, *args, greenify=False, check=True, timeout=timeout, options=options, env=ENV
    )
    assert result.stderr == "", result.stderr
    return result.stdout


def running(code: str, *args: object, timeout: float = 20) -> Any:
    """Start `code` and talk to it; see `tests.support.running_python`."""
    return running_python(code, *args, greenify=False, timeout=timeout, env=ENV)
