"""The supported versions of Python that this machine has, each with greenify installed for the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .control import CACHE

ROOT = Path(__file__).resolve().parent.parent.parent

VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def installed() -> Iterator[str]:
    """The path of an interpreter for each version found, in a virtual environment kept between runs.

    A version that is not there is named on standard error and left out; raises `SystemExit` when none is.
    """
    found = False
    for version in VERSIONS:
        search = subprocess.run(
            [ROOT / ".ci" / "find-python", version], stdout=subprocess.PIPE, text=True
        )
        if search.returncode == 0:
            found = True
            yield _environment(version, search.stdout.strip())
    if not found:
        sys.exit("python -m tests.stdlib_compat --installed: no supported version of Python found")


def _environment(version: str, python: str) -> str:
    folder = CACHE / "environments" / version
    own = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        print(f"installing greenify for Python {version} into {folder}", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", str(ROOT)], check=True)
        ready.touch()
    return str(own)
