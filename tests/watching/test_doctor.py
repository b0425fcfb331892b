"""``python -m greenify doctor``: the places of a program, exit codes, and cases that once failed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from greenify._launcher.options import UNKNOWN
from tests.support import ROOT, child_env
from tests.watching.programs import line_of, write

# A call in C that waits for a time: long enough to be seen on any machine.
PROGRAM = """
    def culprit():
        for _ in range(2):
            held = held_for(0.3)
            libc.read(held.reader, held.buffer, 1)  # here
            time.sleep(0.001)
    threads = others(name="other")
    call(culprit)
    over.append(1)
    print("out")
"""


def doctor(*args: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "greenify", "doctor", *map(str, args)],
        capture_output=True,
        text=True,
        env=child_env(),
        cwd=cwd,
        timeout=60,
    )


def places(*args: str | Path) -> list[dict[str, Any]]:
    done = doctor("--json", *args)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("{") :])["places"]
    return found


class TestCommand:
    def test_a_table(self, tmp_path: Path) -> None:
        path = write(tmp_path, PROGRAM)
        done = doctor(path)
        assert (done.returncode, done.stdout) == (0, "out\n")
        head, *rows = done.stderr.splitlines()
        titles = ("PLACE", "FUNCTION", "CALLS", "TOTAL", "WORST", "WHO WAITED", "WHAT TO DO")
        assert [title for title in titles if title not in head] == []
        (row,) = [
            row for row in rows if row.startswith(f"{path}:{line_of(path, '# here')}  culprit ")
        ]
        assert "MainThread" in row or "other-0" in row
        assert "greenify.run_in_thread" in row

    def test_json(self, tmp_path: Path) -> None:
        path = write(tmp_path, PROGRAM)
        output = tmp_path / "found.json"
        done = doctor("--json", "--output", output, path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "")
        place = f"{path}:{line_of(path, '# here')}"
        (row,) = [row for row in json.loads(output.read_text())["places"] if row["place"] == place]
        assert row["calls"] == 2
        assert row["total"] >= row["worst"] > 0.02
        assert row["function"] == "culprit"
        assert row["report"]["thread"] == "culprit"

    def test_an_output_that_cannot_be_written(self, tmp_path: Path) -> None:
        path = write(tmp_path, PROGRAM)
        output = tmp_path / "no" / "folder"
        done = doctor("--fail-over", "0.05", "--output", output, path)
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"greenify doctor: {output}: No such file or directory\nPLACE "
        )
        assert "culprit" in done.stderr

    def test_fail_over(self, tmp_path: Path) -> None:
        path = write(tmp_path, PROGRAM)
        assert doctor("--fail-over", "0.05", path).returncode == 1
        assert doctor("--fail-over=600", path).returncode == 0
        leaves = write(tmp_path, PROGRAM + "    sys.exit(0)\n")
        assert doctor("--fail-over", "0.05", leaves).returncode == 1
        fails = write(tmp_path, PROGRAM + "    sys.exit(3)\n")
        assert doctor("--fail-over", "0.05", fails).returncode == 3

    def test_an_exception_of_the_program(self, tmp_path: Path) -> None:
        done = doctor(write(tmp_path, PROGRAM + "    1 / 0\n"))
        assert done.returncode == 1
        assert done.stderr.index("ZeroDivisionError") < done.stderr.index("WHAT TO DO")
        assert "doctor.py" not in done.stderr.partition("WHAT TO DO")[0]

    def test_threads_that_outlive_the_main_one(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            """
            def culprit():
                time.sleep(0.05)
                held = held_for(0.3)
                libc.read(held.reader, held.buffer, 1)  # here
            threading.Thread(target=culprit).start()
            threading.Thread(target=time.sleep, args=(0.1,)).start()
            """,
        )
        assert f"{path}:{line_of(path, '# here')}" in doctor(path).stderr

    def test_one_without_an_end(self, tmp_path: Path) -> None:
        """It is told while it goes on, for whoever is killed prints no table."""
        path = write(
            tmp_path,
            """
            def culprit():
                held = Held()
                held.wait()  # here
            threading.Thread(target=culprit, name="culprit").start()
            """,
        )
        with subprocess.Popen(
            [sys.executable, "-m", "greenify", "doctor", path],
            stderr=subprocess.PIPE,
            text=True,
            env=child_env(),
            cwd=ROOT,
        ) as child:
            killer = threading.Timer(60, child.kill)
            killer.start()
            try:
                assert child.stderr is not None
                line, remedy = child.stderr.readline(), child.stderr.readline()
            finally:
                killer.cancel()
                child.kill()
        assert re.fullmatch(
            r"greenify doctor: culprit has kept the loop for [0-9.]+ s and goes on, at "
            rf"{path}:{line_of(path, 'libc.read(self.reader')} in .*: libc.read\(.*\)\n",
            line,
        )
        assert remedy.startswith("  What to do: ")

    def test_nothing(self, tmp_path: Path) -> None:
        done = doctor("--finest", "10", "-c", "print('out')")
        assert (done.returncode, done.stdout) == (0, "out\n")
        assert done.stderr == "greenify doctor: nobody has kept the loop.\n"

    def test_the_launchers_options_follow(self, tmp_path: Path) -> None:
        code = "import greenify, sys; print(greenify.is_patched('ssl'), sys.argv)"
        done = doctor("--finest", "10", "--skip", "ssl", "-c", code, "--json")
        assert (done.returncode, done.stdout) == (0, "False ['-c', '--json']\n")

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ([], "a program is needed"),
            (["--json"], "a program is needed"),
            (["--frobnicate", "x.py"], f"{UNKNOWN} --frobnicate"),
            (["--fail-over", "soon", "x.py"], "that is no positive number of seconds"),
            (["--list"], "a program is needed"),
        ],
        ids=str,
    )
    def test_mistakes(self, args: list[str], message: str) -> None:
        done = doctor(*args)
        assert done.returncode == 2
        assert message in done.stderr


class TestCases:
    """Programs that threads pass, and that kept the loop before their libraries were patched."""

    def test_sqlite(self, tmp_path: Path) -> None:
        path = tmp_path / "busy.py"
        path.write_text(
            "import sqlite3, threading, time\n"
            "first = sqlite3.connect('test.db', isolation_level=None)\n"
            "first.execute('create table t (a)')\n"
            "first.execute('begin immediate')\n"
            "def write():\n"
            "    second = sqlite3.connect('test.db', timeout=0.5)\n"
            "    try:\n"
            "        second.execute('insert into t values (1)')\n"
            "    except sqlite3.OperationalError:\n"
            "        pass\n"
            "thread = threading.Thread(target=write, name='writer')\n"
            "thread.start()\n"
            "thread.join()\n"
        )
        done = doctor("--skip", "sqlite3", path, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (row,) = [row for row in done.stderr.splitlines() if row.startswith("busy.py:8 ")]
        assert "write " in row and "MainThread" in row
        assert "sqlite3 is cooperative with the patch 'sqlite3', which is left out" in row

    def test_a_patch_that_is_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "sleeper.py"
        path.write_text(
            "import threading, time\n"
            "def work():\n"
            "    time.sleep(0.3)\n"
            "thread = threading.Thread(target=work, name='worker')\n"
            "thread.start()\n"
            "thread.join()\n"
        )
        rows = places("--skip", "time", path)
        (row,) = [row for row in rows if row["place"] == f"{path}:3"]
        assert row["remedy"] == (
            "time.sleep is cooperative with the patch 'time', which is left out"
        )
        assert row["report"]["system_call"] in (
            "clock_nanosleep",
            "nanosleep",
            "select",
            "pselect6",
            None,
        )

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc says which system call it is")
    def test_a_regular_file(self, tmp_path: Path) -> None:
        # No disk is slow on purpose: a lock on the file stands for it.
        from greenify.watching.advice import remedy
        from greenify.watching.kernel import SystemCall

        call = SystemCall("fsync", 3, "/data/journal")
        text = remedy([], None, computed=False, lock_kept=False, system_call=call)
        assert text == "regular file (/data/journal): greenify.files"
