"""An interpreter that greenify does not support is refused at its import, before anything is patched."""

from __future__ import annotations

import sys

import pytest

from build_backend import checks
from greenify import _python
from tests.support import run_python

# What the process is like before and after; the interpreter is made to look like another one in between.
PROGRAM = """
import os, sys, threading, time, _thread

os.environ.pop("GREENIFY_UNTESTED_PYTHON", None)
os.environ.update({environment!r})
before = [dict(vars(module)) for module in (threading, time, _thread)]
real = sys.version_info, sys.abiflags
class Version(tuple):
    major, minor = {version!r}
sys.version_info, sys.abiflags = Version((*{version!r}, 0, "final", 0)), {abiflags!r}
try:
    import greenify
except ImportError as exc:
    said = str(exc)
    assert exc.name == "greenify"
else:
    said = ""
sys.version_info, sys.abiflags = real
assert [vars(module) for module in (threading, time, _thread)] == before
assert said or "greenify" in sys.modules
if said:
    loaded = [name for name in sys.modules if name.split(".")[0] in ("greenify", "greenlet", "pyuv")]
    assert sorted(loaded) == ["greenify._python", "greenify._version"], loaded
else:
    greenify.patch_all()
    assert time.sleep is not before[1]["sleep"]
print(said)
"""


def _said(version: tuple[int, int], abiflags: str = "", **environment: str) -> str:
    code = PROGRAM.format(version=version, abiflags=abiflags, environment=environment)
    return run_python(code, greenify=False, check=True).stdout.strip()


def test_a_version_that_is_not_known_yet() -> None:
    unknown = (_python.NEWEST[0], _python.NEWEST[1] + 1)
    said = _said(unknown)
    assert said.startswith("greenify ")
    assert "\n" not in said
    assert f"is not tested with CPython {unknown[0]}.{unknown[1]}, only up to" in said
    assert "GREENIFY_UNTESTED_PYTHON=1" in said
    assert _said((4, 0)) == said.replace(f"{unknown[0]}.{unknown[1]}", "4.0")


def test_tried_anyway() -> None:
    unknown = (_python.NEWEST[0], _python.NEWEST[1] + 1)
    assert _said(unknown, GREENIFY_UNTESTED_PYTHON="1") == ""
    assert _said(unknown, GREENIFY_UNTESTED_PYTHON="0") == _said(unknown) != ""


@pytest.mark.parametrize("abiflags", ["t", "td"])
def test_free_threaded_builds(abiflags: str) -> None:
    for environment in ({}, {"GREENIFY_UNTESTED_PYTHON": "1"}):
        said = _said((3, 14), abiflags, **environment)
        assert said.startswith(
            "greenify needs the GIL, and this is a free-threaded build of CPython 3.14: "
        )
        assert "\n" not in said


def test_this_one_is_supported() -> None:
    assert sys.version_info[:2] <= _python.NEWEST
    assert _python.refusal() is None


def test_the_build_knows_the_same_versions() -> None:
    assert checks.NEWEST_TESTED == _python.NEWEST


def test_the_command_says_it_without_a_traceback() -> None:
    """``python -m greenify`` on such an interpreter: one line."""
    code = """
        import runpy, sys
        real, sys.abiflags = sys.abiflags, "t"
        try:
            runpy._run_module_as_main("greenify")
        finally:
            sys.abiflags = real
    """
    done = run_python(code, greenify=False)
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.strip()
    assert "\n" not in line
    assert "greenify needs the GIL" in line
