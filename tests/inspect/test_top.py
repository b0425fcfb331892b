"""`top`: what it draws, and what its keys do."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from greenify.inspect.answers import FIELDS
from greenify.inspect.top import Screen
from tests.support import child_env, running_python


def row(
    name: str, state: str = "waiting", what: str = "sleep 1.0 s more", **more: Any
) -> list[Any]:
    fields = {"ident": hash(name), "name": name, "kind": "thread", "state": state, "what": what}
    fields |= {"waits": "sleep", "stack": [], **more}
    return [fields.get(field) for field in FIELDS]


def answer(*rows: list[Any], deadlocks: Any = ()) -> dict[str, Any]:
    return {"fields": FIELDS, "rows": list(rows), "deadlocks": deadlocks}


def drawn(screen: Screen) -> str:
    file = io.StringIO()
    Console(file=file, width=screen.width, height=screen.height).print(screen.render())
    return file.getvalue()


@pytest.fixture
def screen() -> Screen:
    made = Screen(42, 30, 100)
    made.update(
        answer(
            row("worker-10", what="recv 10.0.0.1:80 (fd 9)", **{"for": 7.5}),
            row("worker-2", what="Queue.get jobs.py:12"),
            row("spinner", "running", "app.py:3 (spin)"),
        )
    )
    return made


class TestScreen:
    def test_it_shows_numbers_and_rows(self, screen: Screen) -> None:
        lines = drawn(screen).splitlines()
        assert lines[0].startswith(
            "process 42: 3 threads and tasks, 1 running, 2 waiting   by state"
        )
        assert [line.split()[0] for line in lines[1:5]] == [
            "NAME",
            "spinner",
            "worker-2",
            "worker-10",
        ]

    @pytest.mark.parametrize(
        ("key", "names"),
        [
            ("n", ["spinner", "worker-2", "worker-10"]),
            ("w", ["worker-2", "spinner", "worker-10"]),
            ("s", ["spinner", "worker-2", "worker-10"]),
            ("t", ["worker-10", "spinner", "worker-2"]),
        ],
    )
    def test_sorting(self, screen: Screen, key: str, names: list[str]) -> None:
        screen.press(key)
        assert [each["name"] for each in screen.rows] == names

    def test_a_narrow_terminal(self, screen: Screen) -> None:
        screen.width = 60
        lines = drawn(screen).splitlines()
        assert max(map(len, lines)) <= 60
        assert "waiting 7.5 s  recv 10.0.0.1:80 (fd 9)" in lines[4]
        assert lines[-1].startswith("s n k w t sort")

    def test_choosing_and_opening(self, screen: Screen) -> None:
        screen.press("down")
        screen.press("down")
        assert screen.request == {}
        screen.press("enter")
        assert screen.request == {"stacks": True}
        stack = [["/srv/jobs.py", 12, "work"], ["/srv/jobs.py", 3, "main"]]
        screen.update(answer(row("worker-2", stack=stack)))
        shown = drawn(screen)
        assert "worker-2 (thread, waiting)" in shown
        assert shown.index("/srv/jobs.py:12 work") < shown.index("/srv/jobs.py:3 main")
        screen.update(answer(row("another")))
        assert "it has ended" in drawn(screen)
        screen.press("escape")
        assert "another" in drawn(screen)

    def test_deadlocks_are_on_top(self, screen: Screen) -> None:
        screen.update(answer(row("a"), row("b"), deadlocks=[[hash("a"), hash("b")]]))
        assert "Deadlock:" in drawn(screen).splitlines()[1]

    def test_names_are_no_markup(self, screen: Screen) -> None:
        screen.update(answer(row("[bold]x[/nonsense]")))
        assert "[bold]x[/nonsense]" in drawn(screen)

    def test_it_draws_what_has_room(self, screen: Screen) -> None:
        screen.update(answer(*(row(f"worker-{number}") for number in range(10_000))))
        assert len(drawn(screen).splitlines()) <= screen.height
        for _ in range(3):
            screen.press("page down")
        assert "worker-47" in drawn(screen)

    def test_q_ends_it(self, screen: Screen) -> None:
        screen.press("q")
        assert screen.over


PROGRAM = """
import os, threading, time
threading.Thread(target=time.sleep, args=(1000,), name="sleeper", daemon=True).start()
time.sleep(0)
print(os.getpid(), flush=True)
time.sleep(1000)
"""


def test_in_a_terminal() -> None:
    with running_python(PROGRAM, options=("--inspect",)) as program:
        pid = program.readline().strip()
        ours, theirs = pty.openpty()
        top = subprocess.Popen(
            [sys.executable, "-m", "greenify", "top", pid, "--delay", "60"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=child_env({"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}),
        )
        os.close(theirs)
        try:
            read_until(ours, "sleeper")
            os.write(ours, b"n")
            read_until(ours, "by name")
            os.write(ours, b"\r")
            read_until(ours, "MainThread (main, waiting ")
            os.write(ours, b"q")
            assert top.wait(60) == 0
        finally:
            top.kill()
            top.wait()
            os.close(ours)


def read_until(fd: int, text: str) -> None:
    seen = ""
    while text not in seen:
        assert select.select([fd], [], [], 60)[0], seen
        seen += os.read(fd, 65_536).decode("utf-8", "replace")


def test_a_picture(tmp_path: Path) -> None:
    with running_python(PROGRAM, options=("--inspect",)) as program:
        pid = program.readline().strip()
        command = [sys.executable, "-m", "greenify", "top", pid, "--svg", str(tmp_path / "top.svg")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=child_env())
    assert (done.returncode, done.stderr) == (0, "")
    picture = (tmp_path / "top.svg").read_text()
    assert picture.startswith("<svg")
    assert "sleeper" in picture
