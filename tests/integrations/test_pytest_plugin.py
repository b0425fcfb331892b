"""``pytest --greenify``: real runs of pytest in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support import child_env

BLOCKED = """
import ctypes, os, subprocess, threading, time
import pytest

read = ctypes.CDLL(None).read

@pytest.fixture
def slow():
    yield
    call()

def block():
    # Till the child ends.  The kernel goes on with a read that a signal has interrupted, unlike usleep.
    reader, writer = os.pipe()
    with subprocess.Popen(["sleep", "1.5"], stdout=writer):
        os.close(writer)
        read(reader, ctypes.create_string_buffer(1), 1)  # here
    os.close(reader)

def call():
    thread = threading.Thread(target=block, name="culprit")
    thread.start()
    thread.join()

def test_blocks():
    call()

def test_blocks_at_its_end(slow):
    pass

def test_waits():
    threads = [threading.Thread(target=time.sleep, args=(0.001,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

PLUGIN = "greenify.integrations.pytest_plugin:plugin"

CONFTEST = """
import greenify, pytest
at_conftest = greenify.is_patched("thread")

@pytest.fixture
def seen():
    return greenify.is_patched("thread")
"""

TESTS = """
import os, threading, time
import greenify, pytest
from conftest import at_conftest
from greenlet import getcurrent
at_import = greenify.is_patched("thread")

def test_patched(seen):
    assert at_conftest and at_import and seen and greenify.is_patched("thread")

def test_not_patched(seen):
    assert not (at_conftest or at_import or seen or greenify.is_patched("thread"))

def homes():
    found = []
    def note():
        found.append(os.readlink("/proc/thread-self"))
    threads = [threading.Thread(target=note) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return set(found)

@pytest.mark.greenify
def test_marked(seen):
    assert seen and homes() == {os.readlink("/proc/thread-self")}

@pytest.mark.greenify(only=["time"])
def test_marked_in_part(seen):
    assert greenify.is_patched("time")

def test_after_marked():
    assert at_import or greenify.changes() == ()
"""


def run_pytest(here: Path, *args: str, code: int = 0, launcher: tuple[str, ...] = ()) -> str:
    """The output of a run of pytest on `TESTS`."""
    env = {"COLUMNS": "200"}
    if not entry_points(group="pytest11", name="greenify"):
        # An older installation that can be edited: its entry points are of that day.
        metadata = here / "site" / "installed-0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text(f"[pytest11]\ngreenify = {PLUGIN}\n")
        env["PYTHONPATH"] = str(metadata.parent)
    (here / "conftest.py").write_text(CONFTEST)
    (here / "test_program.py").write_text(TESTS)
    (here / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n"
    )
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "pytest", "-p", "no:cacheprovider", *args],
        cwd=here,
        env=child_env(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_all_tests_are_imported_patched(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, "--greenify", "--deselect", "test_program.py::test_not_patched")
    assert "4 passed" in output
    assert "greenify: " in output


def test_off_without_the_option(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, "--deselect", "test_program.py::test_patched")
    assert "4 passed" in output
    assert "greenify: " not in output


def test_in_a_patched_process(tmp_path: Path) -> None:
    # It does not warn that it cannot rewrite the plug-in's package, which is imported.
    launcher = ("-m", "greenify")
    output = run_pytest(tmp_path, "-k", "test_patched", launcher=launcher)
    assert "1 passed" in output
    assert "arning" not in output


def test_with_several_workers(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path, "--greenify", "-n", "2", "--deselect", "test_program.py::test_not_patched"
    )
    assert "4 passed" in output


def test_a_wrong_argument_fails_the_run_clearly(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(
        "import pytest\n"
        "@pytest.mark.greenify(only=['tyme'])\ndef test_patch():\n    pass\n"
        "@pytest.mark.greenify(onyl=['time'])\ndef test_keyword():\n    pass\n"
        "@pytest.mark.greenify('time')\ndef test_position():\n    pass\n"
    )
    output = run_pytest(tmp_path, "test_wrong.py", code=os.EX_OK + 1)
    assert "@pytest.mark.greenify: UnknownPatchError: " in output
    assert "@pytest.mark.greenify: TypeError: " in output and "'onyl'" in output
    assert output.count("Its arguments are those of greenify.patched()") == 3
    assert "pytest_plugin.py" not in output  # where it was found out is of no use
    assert "3 errors" in output


def test_a_watch_that_has_nothing_to_see_is_told(tmp_path: Path) -> None:
    told = "not patched, so --greenify-fail-blocked can fail no tests"
    watch = "--greenify-fail-blocked=60"
    some = ("-k", "test_marked or test_patched", watch)
    output = run_pytest(tmp_path, *some, "--deselect", "test_program.py::test_patched")
    assert told in output and "--greenify patches the run" in output
    assert told not in run_pytest(tmp_path, *some, "--greenify")
    assert told not in run_pytest(tmp_path, *some, launcher=("-m", "greenify"))


def test_a_test_that_keeps_the_loop_fails(tmp_path: Path) -> None:
    (tmp_path / "test_blocked.py").write_text(BLOCKED)
    # Its plugin imports all of it after a failure.
    quick = ("-p", "no:hypothesispytest")
    output = run_pytest(
        tmp_path, *quick, "--greenify", "--greenify-fail-blocked=0.7", "test_blocked.py", code=1
    )
    # What a fixture does at its end is an error, beside the test that has passed.
    assert "1 failed, 2 passed, 1 error" in output
    # Once each; the summary at the end repeats the first lines.
    assert output.count("The stack (innermost call last):") == 2
    assert "culprit has kept the loop for " in output
    assert "in block: read(reader, ctypes.create_string_buffer(1), 1)  # here" in output
    several = ("-n", "2", "--greenify", "--greenify-fail-blocked=0.7")
    output = run_pytest(tmp_path, *quick, *several, "test_blocked.py", code=1)
    assert "1 failed, 2 passed, 1 error" in output
    assert output.count("The stack (innermost call last):") == 2
    run_pytest(tmp_path, *quick, "--greenify", "--greenify-fail-blocked=60", "test_blocked.py")
    output = run_pytest(tmp_path, "--greenify-fail-blocked=0", "test_blocked.py", code=4)
    assert "--greenify-fail-blocked: that is no positive number" in output


@pytest.mark.skipif(
    not entry_points(group="pytest11", name="greenify"),
    reason="greenify was installed before it had this entry point: pip install --editable .",
)
def test_the_entry_point_is_the_plugin() -> None:
    (entry,) = entry_points(group="pytest11", name="greenify")
    assert entry.value == PLUGIN
