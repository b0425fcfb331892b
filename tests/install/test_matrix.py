"""Every way to install greenify that compiles it, on the oldest and the newest CPython.

`test_dist.py` installs the wheels, on every version.

Takes minutes: `.ci/run` asks for it with ``-m matrix``. An interpreter that is missing is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.install.tools import SDIST, Venv, check_installation, copy_tree, site_packages, succeed
from tests.support import ROOT

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


@pytest.fixture(scope="session", params=(VERSIONS[0], VERSIONS[-1]))
def python(request: pytest.FixtureRequest) -> str:
    return succeed(ROOT / ".ci" / "find-python", request.param).strip()


@pytest.fixture
def venv(python: str, tmp_path: Path) -> Venv:
    return Venv.make(tmp_path / "venv", python)


def _from_folder(venv: Venv, tree: Path, sdist: Path) -> Path:
    # As in a new clone: pyuv's sdist is fetched, too, and by the pip of that version.
    (tree / "build_backend" / SDIST).unlink(missing_ok=True)
    venv.install(tree)
    return site_packages(venv)


def _from_wheel(venv: Venv, tree: Path, sdist: Path) -> Path:
    folder = venv.path / "wheelhouse"
    done = venv.pip("wheel", "--wheel-dir", folder, ".", cwd=tree)
    assert done.returncode == 0, done.stdout
    env = {"PATH": str(venv.path / "bin"), "CC": "/nonexistent"}
    venv.install("--no-index", "--find-links", folder, "greenify", env=env)
    return site_packages(venv)


def _from_sdist(venv: Venv, tree: Path, sdist: Path) -> Path:
    venv.install(sdist)
    return site_packages(venv)


@pytest.mark.parametrize("way", [_from_folder, _from_wheel, _from_sdist])
def test_install(
    way: Callable[[Venv, Path, Path], Path], venv: Venv, sdist: Path, tmp_path: Path
) -> None:
    tree = copy_tree(tmp_path / "tree")
    check_installation(venv, files_in=way(venv, tree, sdist))


def test_install_editable_all_from_one_tree(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    venvs = []
    for version in VERSIONS[:: len(VERSIONS) - 1]:
        python = succeed(ROOT / ".ci" / "find-python", version).strip()
        venvs.append(Venv.make(tmp_path / version, python))
        venvs[-1].install("--editable", tree)
    # Checked when all are there: a compiled module must not have taken another one's place.
    for venv in venvs:
        check_installation(venv, files_in=tree / "greenify")
