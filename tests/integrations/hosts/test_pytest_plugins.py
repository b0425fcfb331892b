"""``pytest --greenify`` beside pytest-xdist, pytest-timeout, pytest-asyncio and pytest-cov."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.hosts.hosting import needs
from tests.support import child_env

# By their entry points; all others that are installed would only take time.
_NAMES = ("greenify", "asyncio", "xdist", "timeout", "pytest_cov", "no:cacheprovider")
PLUGINS = tuple(f"-p{name}" for name in _NAMES)

WORK = """
import threading
import time

def work(number):
    time.sleep(0.001)
    if number:
        time.sleep(0.001)
        return helper(number)
    return 0

def helper(number):
    total = 0
    for turn in range(3):
        time.sleep(0.001)
        total += turn
    return total

def at_once():
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def never():
    return 1
"""

TESTS = """
import asyncio, os, threading
import greenify, pytest
from program import at_once, helper
at_import = greenify.is_patched("thread")

@pytest.fixture
async def value():
    await asyncio.sleep(0.001)
    yield os.readlink("/proc/thread-self")

@pytest.mark.asyncio
@pytest.mark.parametrize("turn", range(3))
async def test_coroutines(value, turn):
    natives = await asyncio.gather(*(asyncio.to_thread(os.readlink, "/proc/thread-self") for _ in range(5)))
    assert at_import and set(natives) == {value}

@pytest.mark.parametrize("turn", range(3))
def test_threads(turn):
    assert at_import and greenify.is_patched("thread")
    at_once()
"""

HANG = """
import threading

def in_thread():
    threading.Event().wait()  # somebody hangs

def test_before():
    pass

def test_hangs():
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()  # this hangs

def test_after():
    pass
"""


def run_pytest(
    here: Path, *args: str, tests: str = TESTS, concurrency: str = "thread"
) -> tuple[int, str]:
    """Exit code and output of a run with ``--greenify``."""
    (here / "program.py").write_text(WORK)
    (here / "test_program.py").write_text(tests)
    (here / ".coveragerc").write_text(
        f"[run]\nbranch = True\nconcurrency = {concurrency}\nsource = program\n"
    )
    (here / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n"
        "asyncio_default_fixture_loop_scope = function\nasyncio_mode = auto\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, "--greenify", *args],
        cwd=here,
        env=child_env(
            {"PYTEST_ADDOPTS": "", "COLUMNS": "200", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("concurrency", "workers"), [("thread", "0"), ("greenlet", "2")])
def test_asyncio_and_coverage(tmp_path: Path, concurrency: str, workers: str) -> None:
    needs("pytest-asyncio", "pytest-cov", "pytest-xdist")
    code, output = run_pytest(
        tmp_path, "-n", workers, "--cov", "--cov-report=json:out.json", concurrency=concurrency
    )
    assert code == 0 and "6 passed" in output, output
    found = json.loads((tmp_path / "out.json").read_text())["files"]["program.py"]
    lines = WORK.splitlines()
    assert [lines[number - 1].strip() for number in found["missing_lines"]] == ["return 1"], output
    assert found["missing_branches"] == [], output


@pytest.mark.parametrize(("method", "workers"), [("signal", "2"), ("thread", "0")])
def test_timeout(tmp_path: Path, method: str, workers: str) -> None:
    """The test that hangs is named, with its line; by a signal it fails, and the others go on."""
    needs("pytest-timeout", "pytest-asyncio", "pytest-xdist")
    options = ("--timeout", "2", "--timeout-method", method, "-n", workers)
    code, output = run_pytest(tmp_path, *options, tests=HANG)
    assert code == 1, output
    if method == "signal":
        assert "1 failed, 2 passed" in output, output
        assert "Timeout (>2.0s)" in output
    else:
        # All stacks are printed, and the process ends.
        assert "Timeout" in output
    assert "thread.join()  # this hangs" in output
