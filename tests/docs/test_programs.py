"""Every block of Python and every command in docs/ does what its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, PAGES, PageError, Program, blocks, commands, matches, programs
from tests.support import child_env, run_python

PROGRAMS = [program for page in PAGES for program in programs(page)]
TIMEOUT = 60


def _case(program: Program) -> Any:
    # The tutorial is for every Python.
    marks = [pytest.mark.smoke] if program.page.startswith("tutorial/") else []
    return pytest.param(program, id=str(program), marks=marks)


@pytest.mark.parametrize("program", [_case(program) for program in PROGRAMS])
def test_runs(program: Program, tmp_path: Path) -> None:
    for name, text in program.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    if program.kind == "console":
        run_commands(program, tmp_path)
    elif program.kind == "compile":
        compile_only(program, tmp_path)
    else:
        run_program(program, tmp_path)


def run_program(program: Program, directory: Path) -> None:
    path = directory / f"{Path(program.page).stem}_{program.line}.py"
    path.write_text(program.text, encoding="utf-8")
    green = program.kind == "launcher"
    done = run_python(path, greenify=green, timeout=TIMEOUT, cwd=directory, check=True)
    if program.expected is not None:
        assert matches(program.expected, done.stdout), f"{program} has printed\n{done.stdout}"


def compile_only(program: Program, directory: Path) -> None:
    """Its syntax is right, and what it imports of greenify exists."""
    code = compile(program.text, f"{program}", "exec", dont_inherit=True)
    assert code.co_names
    imports = [
        line.strip()
        for line in program.text.splitlines()
        if line.strip().startswith(("import greenify", "from greenify"))
    ]
    run_python("\n".join(imports), greenify=False, cwd=directory, check=True)


def run_commands(program: Program, directory: Path) -> None:
    for command, expected in commands(program.text):
        done = subprocess.run(
            command,
            shell=True,
            cwd=directory,
            env=child_env(
                {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        assert matches(expected, done.stdout), f"{program}: {command} has printed\n{done.stdout}"


def test_the_tutorial_shows_outputs() -> None:
    """What runs the pages has found them: a moved folder must not empty the tests above."""
    tutorial = [program for program in PROGRAMS if program.page.startswith("tutorial/")]
    assert len([program for program in tutorial if program.expected]) >= 10


class TestMarks:
    def page(self, directory: Path, text: str) -> Path:
        path = directory / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    @pytest.mark.parametrize(
        "text",
        [
            "<!-- test: output -->\n```python\n1\n```\n",
            "<!-- test: whatever -->\n```python\n1\n```\n",
            "<!-- test: compile -->\n```python\n1\n```\n",
            "<!-- tests: launcher -->\n```python\n1\n```\n",
        ],
    )
    def test_wrong(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(PageError):
            list(blocks(self.page(tmp_path, text)))

    @pytest.mark.parametrize(
        "text",
        [
            "<!-- test: continued -->\n```python\n1\n```\n",
            "<!-- test: output -->\n```text\n1\n```\n",
        ],
    )
    def test_nothing_before(
        self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.docs.pages.DOCS", tmp_path)
        with pytest.raises(PageError):
            programs(self.page(tmp_path, text))

    def test_joined(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.docs.pages.DOCS", tmp_path)
        page = self.page(
            tmp_path,
            "# Title\n\n```python\nprint(1)\n```\n\n<!-- test: output -->\n```text\n1\n```\n\n"
            "<!-- test: continued -->\n```python\nprint(2)\n```\n\n<!-- test: output -->\n```text\n2\n```\n",
        )
        (program,) = programs(page)
        assert program.expected == "1\n2\n"
        assert program.text.splitlines()[3] == "print(1)"
        assert program.text.splitlines()[13] == "print(2)"

    def test_commands(self) -> None:
        console = "$ first\nits output\n$ second\n"
        assert list(commands(console)) == [("first", "its output\n"), ("second", "")]

    def test_matches(self) -> None:
        assert matches("a...c\n", "a and b\nand c\n")
        assert not matches("a...c\n", "b and c\n")
        assert not matches("", "something\n")


def test_every_page_is_read() -> None:
    assert DOCS / "index.md" in PAGES
