from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.install.tools import Venv, copy_tree, succeed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of what takes long to build share it in one process, and get the time that it takes."""
    slow = {"wheelhouse", "wheel", "sdist"}
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))
            if slow & set(item.fixturenames) and item.get_closest_marker("matrix") is None:
                item.add_marker(pytest.mark.xdist_group("install"))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as cloned, nothing fetched and nothing compiled, in a folder with a space in its name."""
    return copy_tree(tmp_path_factory.mktemp("tree") / "green ify", with_pyuv=False)


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """A new environment to run pip in; nothing is installed into it."""
    return Venv.make(tmp_path_factory.mktemp("builder") / "venv")


@pytest.fixture(scope="session")
def wheelhouse(tree: Path, builder: Venv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip wheel .`` makes: wheels of greenify and of what it needs."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    done = builder.pip("wheel", "--wheel-dir", folder, ".", cwd=tree)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="session")
def wheel(wheelhouse: Path) -> Path:
    [found] = wheelhouse.glob("greenify-*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """greenify's sdist, made by the hook that any build tool calls; setuptools is this environment's."""
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys, build_backend as b; b.get_requires_for_build_sdist(); b.build_sdist(sys.argv[1])"
    succeed(sys.executable, "-c", code, folder, cwd=tree)
    [found] = folder.iterdir()
    return found
