"""Copies of the source tree, new virtual environments, and pip as a user would call it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build_backend import sdist as pyuv_sdist
from tests.support import ROOT

SDIST = pyuv_sdist.NAME
# Seconds for one pip command, which may compile libuv while other tests run.
TIMEOUT = 500

_LEFT_BEHIND = shutil.ignore_patterns(
    ".*cache",
    ".git",
    ".hypothesis",
    ".tox",
    ".venv",
    "*.egg-info",
    "*.so",
    "*.py[co]",
    "__pycache__",
)
# What a developer's shell may hold, and a user's new machine does not. pip's own settings stay: how to
# reach an index is the machine's business.
_FOREIGN = ("PYTHON", "GREENIFY", "CFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "VIRTUAL_ENV", "COVERAGE")


def copy_tree(to: Path, *, with_pyuv: bool = True) -> Path:
    """Copy the sources as a new clone would have them: nothing built, nothing cached.

    Args:
        with_pyuv: bring pyuv's published sdist along if it was fetched here before.
    """

    def ignore(folder: str, names: list[str]) -> set[str]:
        ignored = set(_LEFT_BEHIND(folder, names))
        if Path(folder) == ROOT:
            # With what setuptools makes there for a moment, while another test builds an sdist.
            ignored |= {"build", "dist", *(name for name in names if name.startswith("greenify-"))}
        if not with_pyuv:
            ignored.add(SDIST)
        return ignored

    shutil.copytree(ROOT, to, ignore=ignore)
    return to


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**env, **(changes or {})}


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command, with both its outputs in ``stdout``; a user's new shell otherwise."""
    return subprocess.run(
        [str(part) for part in command],
        env=environment(env),
        cwd=cwd or "/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )


def succeed(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = run(*command, env=env, cwd=cwd)
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Venv:
    """A new virtual environment, with pip as its Python ships it."""

    path: Path

    @classmethod
    def make(cls, path: Path, python: str | Path = sys.executable) -> Venv:
        if run(python, "-c", "import ensurepip").returncode == 0:
            succeed(python, "-m", "venv", path)
        else:  # as Debian packages it
            succeed(sys.executable, "-m", "virtualenv", "--python", python, path)
        return cls(path)

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def pip(
        self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run(self.python, "-m", "pip", *args, env=env, cwd=cwd)

    def install(self, *args: str | Path, env: Mapping[str, str] | None = None) -> None:
        done = self.pip("install", *args, env=env)
        assert done.returncode == 0, done.stdout


_PROBE = """
import json, sys
before = set(sys.modules)
import greenify
from greenify.core import loop
pyuv = loop.pyuv
uv = pyuv.Loop()
fired = []
timer = pyuv.Timer(uv)
timer.start(fired.append, 0.001, 0)
while not fired:
    uv.run(pyuv.UV_RUN_ONCE)
timer.close()
uv.run(pyuv.UV_RUN_NOWAIT)
print(json.dumps({
    "version": greenify.__version__,
    "file": greenify.__file__,
    "origin": loop.pyuv_origin,
    "pyuv": loop.pyuv_version,
    "compiled": pyuv._cpyuv.__file__,
    "pyuv_names": sorted(name for name in sys.modules if name.split(".")[0] == "pyuv"),
}))
"""


def probe(venv: Venv, env: Mapping[str, str] | None = None) -> dict[str, str | list[str]]:
    """Import greenify as installed in `venv`, fire a timer of its loop, and tell what it is."""
    out = succeed(venv.python, "-W", "error", "-c", _PROBE, env=env)
    return dict(json.loads(out))


def check_installation(venv: Venv, files_in: Path) -> None:
    """An installation works: the package, with the bundled pyuv, and both forms of the command.

    Args:
        files_in: the folder that greenify must be imported from.
    """
    from greenify._version import __version__

    found = probe(venv)
    assert found["version"] == __version__
    assert Path(str(found["file"])).is_relative_to(files_in), found
    assert found["origin"] == "bundled"
    assert found["pyuv"] == "1.4.0"
    assert Path(str(found["compiled"])).is_relative_to(files_in), found
    assert found["pyuv_names"] == []
    for command in ([venv.path / "bin" / "greenify"], [venv.python, "-m", "greenify"]):
        assert __version__ in succeed(*command, "--version")
        assert succeed(*command, "-c", "import time; time.sleep(0.001); print('ran')") == "ran\n"


def site_packages(venv: Venv) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return Path(succeed(venv.python, "-c", code).strip())
