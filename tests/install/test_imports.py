"""Every module of greenify can be the first one that a program imports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import greenify
from tests.install.tools import succeed

_PARENT = Path(greenify.__file__).parent.parent


def _modules() -> list[str]:
    names = []
    for path in sorted((_PARENT / "greenify").rglob("*.py")):
        parts = path.relative_to(_PARENT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.smoke
def test_import_all() -> None:
    """In one process, on every Python; each alone takes a process for each."""
    code = (
        "import sys, importlib; sys.path.insert(0, sys.argv.pop(1))\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    succeed(sys.executable, "-I", "-W", "error", "-c", code, _PARENT, *_modules())


@pytest.mark.parametrize("module", _modules())
def test_import_alone(module: str) -> None:
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {module}"
    # -I: nothing from the shell or the current folder can stand in for what is missing.
    succeed(sys.executable, "-I", "-W", "error", "-c", code, _PARENT)
