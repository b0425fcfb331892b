"""The supported versions of Python that this machine has, each with greenify installed for the tests."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .control import CACHE

ROOT = Path(__file__).resolve().parent.parent.parent

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def installed(versions: Sequence[str] = VERSIONS) -> list[str]:
    """The path of an interpreter for each version found, in a virtual environment kept between runs.

    A version that is not there is named on standard error and left out; raises `SystemExit` when none is.
    """
    found = {}
    for version in versions:
        search = subprocess.run(
            [ROOT / ".ci" / "find-python", version], stdout=subprocess.PIPE, text=True
        )
        if search.returncode == 0:
            found[version] = search.stdout.strip()
    if not found:
        sys.exit(
            "python -m tests.stdlib_compat --installed: none of these versions of Python found"
        )
    return [_environment(version, python) for version, python in found.items()]


def _environment(version: str, python: str) -> str:
    folder = CACHE / "environments" / version
    own = folder / "bin" / "python"
    # Made again when what is installed, or by what, has changed; the package itself is used from this tree.
    inputs = [
        ROOT / "setup.cfg",
        ROOT / "setup.py",
        *sorted((ROOT / "build_backend").glob("*.[ph]*")),
    ]
    state = hashlib.sha256(
        python.encode() + b"".join(path.read_bytes() for path in inputs)
    ).hexdigest()
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != state:
        print(f"installing greenify for Python {version} into {folder}", flush=True)
        # Debian's newest, which `.ci/get-python` fetches, have no ensurepip for venv.
        make = [sys.executable, "-m", "virtualenv", "-q", "--clear", "-p", python, folder]
        subprocess.run(make, check=True)
        pip = [str(own), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", str(ROOT)], check=True)
        ready.write_text(state)
    return str(own)
