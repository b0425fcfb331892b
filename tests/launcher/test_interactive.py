"""The prompt, on a terminal: after a program with -i, and without any program."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import child_env, fork_with_terminal

LINES = [
    "print(__name__, sorted(n for n in globals() if not n.startswith('__')))",
    "import os, sys; print(os.environ.get('PYTHONINSPECT'), '__file__' in globals())",
    "print(repr(getattr(sys, 'last_value', None)), sys.argv)",
    "1 / 0",
    "exit(3)",
]
PROMPT = b">>> "


def talk(
    args: list[str], cwd: Path, env: dict[str, str] | None = None, typed: Sequence[str] = LINES
) -> tuple[str, int]:
    """Run Python on a terminal of its own, type `typed`, and return all it has shown and its exit code."""
    environment = child_env(env)
    environment.update(TERM="dumb", PYTHON_BASIC_REPL="1", PYTHON_COLORS="0")
    pid, fd = fork_with_terminal()
    if pid == 0:
        os.chdir(cwd)
        os.execve(sys.executable, [sys.executable, *args], environment)
    shown = b""
    lines = iter(typed)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([fd], [], [], 1)[0]:
                continue
            try:
                data = os.read(fd, 4096)
            except OSError:
                data = b""  # the other side of the terminal is closed
            if not data:
                break
            shown += data
            if shown.endswith(PROMPT):
                os.write(fd, next(lines).encode() + b"\n")
    finally:
        os.close(fd)
        _, status = os.waitpid(pid, 0)
    text = shown.decode().replace("\r\n", "\n")
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text), os.waitstatus_to_exitcode(status)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "fail.py").write_text("value = 5\n1 / 0\n")
    (tmp_path / "leave.py").write_text("import sys\nvalue = 5\nsys.exit(9)\n")
    (tmp_path / "fine.py").write_text("value = 6\n")
    (tmp_path / "wrong.py").write_text("if x\n")
    (tmp_path / "startup.py").write_text("started = True\n")
    (tmp_path / "asks.py").write_text("import os\nos.environ['PYTHONINSPECT'] = '1'\nvalue = 7\n")
    return tmp_path


@pytest.mark.parametrize(
    "args",
    [
        ["fail.py", "a"],
        ["leave.py"],
        ["-m", "fine", "b"],
        ["-c", "value = 1"],
        ["wrong.py"],
        ["no.py"],
    ],
    ids=" ".join,
)
class TestInspect:
    def test_option_of_python(self, here: Path, args: list[str]) -> None:
        assert talk(["-i", "-m", "greenify", *args], here) == talk(["-i", *args], here)

    def test_own_option(self, here: Path, args: list[str]) -> None:
        found = talk(["-m", "greenify", "-i", *args], here)
        assert found == talk(["-i", *args], here)
        assert found[1] == 3
        assert ">>> exit(3)" in found[0]


class TestPrompt:
    @pytest.mark.parametrize("args", [[], ["-"]])
    def test_without_a_program(self, here: Path, args: list[str]) -> None:
        found = talk(["-m", "greenify", *args], here)
        assert found == talk(args, here)
        assert found[0].startswith("Python 3.")

    def test_start_up_file(self, here: Path) -> None:
        env = {"PYTHONSTARTUP": str(here / "startup.py")}
        found = talk(["-q", "-m", "greenify"], here, env)
        assert found == talk(["-q"], here, env)
        assert "['started']" in found[0]

    def test_program_asks_for_it(self, here: Path) -> None:
        found = talk(["-m", "greenify", "asks.py"], here)
        assert found == talk(["asks.py"], here)
        assert "'value'" in found[0]

    def test_variable_of_the_environment(self, here: Path) -> None:
        env = {"PYTHONINSPECT": "1"}
        assert talk(["-m", "greenify", "fail.py"], here, env) == talk(["fail.py"], here, env)

    def test_is_patched(self, here: Path) -> None:
        typed = ["import greenify", "print('patched:', greenify.is_patched('time'))", "exit(3)"]
        found = talk(["-m", "greenify"], here, typed=typed)
        assert "\npatched: True\n" in found[0]


PIPED = """x = 5
print(x + 1)
1 / 0
x +
def f():
    return 3

f()
if x:
    raise KeyError(x)

from __future__ import annotations
def g(a: nothing): pass

import os, sys
print(os.environ.get("PYTHONINSPECT"), sys.argv, __name__)
"""


@pytest.mark.parametrize(
    "last", ["", "print('no end of line')", "sys.exit(4)\nprint('not run')\n", "(1,"]
)
@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-c", "y = 1"],
        ["-c", "1/0"],
        ["-c", "raise SystemExit(3)"],
        ["fail.py", "a"],
        ["-m", "fine"],
    ],
)
def test_lines_from_a_pipe(args: list[str], last: str, here: Path) -> None:
    """As editors run it."""
    found = []
    for launcher in ([], ["-m", "greenify"]):
        done = subprocess.run(
            [sys.executable, *launcher, "-i", *args],
            input=PIPED + last,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=here,
            env=child_env({"PYTHON_COLORS": "0"}),
        )
        found.append((done.returncode, done.stdout, done.stderr))
    assert found[0] == found[1]
    assert "6\n" in found[1][1]


def test_siblings_end_before_the_process_does() -> None:
    """The prompt's threads are joined at the end, as with threads."""
    lines = "import threading\nt = threading.Timer(0.01, print, ('late',)); t.start()\n"
    done = subprocess.run(
        [sys.executable, "-m", "greenify", "-i", "-c", "pass"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        env=child_env(),
    )
    assert (done.returncode, done.stdout) == (0, "late\n")
