"""The Makefile and the search for a Python, on machines that lack something."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.install.tools import run, succeed
from tests.support import ROOT

FIND = ROOT / ".ci" / "find-python"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with nothing but a shell, in the folder that is its PATH."""
    for name in ("bash", "env"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    return {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": ""}


def _add(machine: dict[str, str], name: str, says: str, code: int = 0) -> None:
    path = Path(machine["PATH"]) / name
    path.write_text(f"#!/usr/bin/env bash\necho {says}\nexit {code}\n")
    path.chmod(0o755)


def test_finds_this_version(machine: dict[str, str]) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    (Path(machine["PATH"]) / f"python{version}").symlink_to(sys.executable)
    for args in ([version], []):
        assert Path(succeed(FIND, *args, env=machine).strip()).resolve().exists()


def test_prefers_python3(machine: dict[str, str]) -> None:
    _add(machine, "python3", "/the/first")
    _add(machine, "python3.13", "/the/second")
    assert succeed(FIND, env=machine) == "/the/first\n"


def test_looks_among_those_of_pyenv(machine: dict[str, str]) -> None:
    folder = Path(machine["HOME"]) / ".pyenv" / "versions" / "3.12.9" / "bin"
    folder.mkdir(parents=True)
    _add(machine, str(folder / "python"), "/in/pyenv")
    # A shim for a version that is not selected exists, and fails.
    _add(machine, "python3.12", "pyenv: python3.12: command not found", 127)
    for args in (["3.12"], []):
        assert succeed(FIND, *args, env=machine) == "/in/pyenv\n"


def test_says_what_is_missing(machine: dict[str, str]) -> None:
    # A Python that is too old prints nothing.
    _add(machine, "python3", "")
    none = run(FIND, env=machine)
    assert none.returncode == 1
    assert "greenify needs CPython 3.10 or newer, and there is none" in none.stdout
    assert "make PYTHON=" in none.stdout
    one = run(FIND, "3.12", env=machine)
    assert one.returncode == 1
    assert "CPython 3.12 is needed and not installed" in one.stdout


def test_make_demo_passes_its_options_on() -> None:
    command = ["make", "--dry-run", "demo", "URL=http://localhost:1/?a=b&c", "DEMO_ARGS=--strict"]
    shown = succeed(*command, cwd=ROOT)
    assert "python examples/demo.py --url 'http://localhost:1/?a=b&c' --strict" in shown
