"""How the scenarios of this folder are run."""

from __future__ import annotations

import contextlib
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Mode, child_env, command_line, run_python

#: With real threads first; then the same code, run by the launcher.
BOTH = pytest.mark.parametrize("mode", [False, True], ids=["threads", "greenify"])

#: As `BOTH`, and once more with a call of `patch_all` in the first line.
ALL = pytest.mark.parametrize(
    "mode", [False, True, "patch_all"], ids=["threads", "greenify", "call"]
)

#: What scenarios share: threads that hand back what they return or raise.
PRELUDE = """
import threading

class Call(threading.Thread):
    "Runs function(*args) in a thread; `result` returns what it returns, or raises what it raises."
    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.value = self.error = None
        self.start()
    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as exc:
            self.error = exc
    def result(self):
        self.join(30)
        assert not self.is_alive(), "the thread has not ended"
        if self.error is not None:
            raise self.error
        return self.value
"""


def check(code: str, mode: Mode, *args: object, **options: Any) -> str:
    """Run a scenario to its successful end, with nothing on standard error; what it has printed."""
    program = PRELUDE + textwrap.dedent(code)
    result = run_python(program, *args, greenify=mode, check=True, **options)
    assert result.stderr == "", result.stderr
    return result.stdout


def check_file(folder: Path, code: str, mode: Mode, *args: object, **options: Any) -> str:
    """As `check`, for code that has to be in a file (multiprocessing imports it in the children)."""
    path = folder / "scenario_main.py"
    path.write_text(PRELUDE + textwrap.dedent(code))
    result = run_python(path, *args, greenify=mode, check=True, **options)
    assert result.stderr == "", result.stderr
    return result.stdout


@contextlib.contextmanager
def talking(code: str, mode: Mode, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A running scenario whose standard streams are ours to read and write, line by line."""
    command = command_line(PRELUDE + textwrap.dedent(code), greenify=mode)
    ends: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # What the scenario prints is to come at once, but through the ordinary buffers.
    process = subprocess.Popen(
        command,
        env=child_env({"PYTHONUNBUFFERED": ""}),
        text=True,
        encoding="utf-8",
        start_new_session=True,
        **{**ends, **streams},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
