"""Where greenify cannot be built, pip's output holds one message, which names the remedy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from build_backend import checks
from tests.install.tools import SDIST, Venv, copy_tree, run
from tests.support import ROOT


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources without pyuv's sdist."""
    return copy_tree(tmp_path_factory.mktemp("bare") / "tree", with_pyuv=False)


def _message(done: subprocess.CompletedProcess[str]) -> str:
    """The one message in a failed command's output."""
    assert done.returncode != 0, done.stdout
    assert done.stdout.count("greenify cannot be built:") == 1, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


class TestThroughPip:
    """``pip install .`` in new environments that lack something."""

    def test_no_compiler_named_in_CC(self, bare: Path, builder: Venv) -> None:
        said = _message(builder.pip("install", bare, env={"CC": "/nonexistent/cc"}))
        assert "there is no C compiler here ('/nonexistent/cc' was not found)" in said
        assert "apt install gcc" in said
        assert len(said.splitlines()) < 40

    def test_no_compiler_on_PATH(self, bare: Path, builder: Venv) -> None:
        env = {"PATH": str(builder.path / "bin")}
        assert "there is no C compiler here" in _message(builder.pip("install", bare, env=env))
        editable = builder.pip("install", "--editable", bare, env=env)
        assert "there is no C compiler here" in _message(editable)

    def test_no_index(self, bare: Path, builder: Venv) -> None:
        # With pyuv's sdist missing, that is what cannot be had; with it (as in greenify's sdist), setuptools.
        # The folder of wheels that a machine may name in its settings is not the index's business.
        env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
        said = _message(builder.pip("install", bare, env=env))
        assert "pip could not get setuptools" in said
        assert "PIP_FIND_LINKS" in said
        assert len(said.splitlines()) < 40

    def test_index_without_pyuv(self, bare: Path, builder: Venv) -> None:
        # Nothing listens on port 9 of this machine, so this is an index that cannot be reached.
        env = {
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_RETRIES": "0",
        }
        said = _message(builder.pip("install", bare, env=env))
        assert f"pip could not get {SDIST}" in said
        assert "PIP_INDEX_URL" in said

    def test_compile_error_shows_the_compilers_last_lines(self, tree: Path, builder: Venv) -> None:
        env = {"CFLAGS": "-include /nonexistent/header.h"}
        said = _message(builder.pip("install", "--no-deps", tree, env=env))
        assert "did not compile" in said
        assert "/nonexistent/header.h: No such file" in said
        assert len(said.splitlines()) < 70


class TestThroughTheHook:
    """The first hook that pip calls, on a machine that is made to look like another."""

    @staticmethod
    def _call(pretend: str) -> subprocess.CompletedProcess[str]:
        # The standard library's modules are loaded for the platform that this is, ours for the other.
        code = f"""
import sys, sysconfig, build_backend
sysconfig.get_config_vars()
for name in [name for name in sys.modules if name.startswith("build_backend")]:
    del sys.modules[name]
{pretend}
import build_backend
build_backend.get_requires_for_build_wheel()
"""
        return run(sys.executable, "-c", code, cwd=ROOT)

    def test_windows(self) -> None:
        assert "WSL 2" in _message(self._call("sys.platform = 'win32'"))

    def test_pypy(self) -> None:
        said = _message(self._call("sys.implementation.name = 'pypy'"))
        assert "it needs CPython 3.10 or newer, and this is pypy 3." in said

    def test_old_python(self) -> None:
        said = _message(self._call("sys.version_info = (3, 9, 18, 'final', 0)"))
        assert "and this is cpython 3.9" in said

    def test_no_headers(self, tmp_path: Path) -> None:
        pretend = f"sysconfig.get_path = lambda name: {str(tmp_path)!r}"
        code = f"import sysconfig\n{pretend}\nfrom build_backend import checks\nchecks.check_compiler()"
        done = run(sys.executable, "-c", code, cwd=ROOT)
        assert "headers are not installed" in done.stdout
        assert "-dev" in done.stdout


class TestCheckPlatform:
    """`build_backend.checks.check_platform` on machines that are not here."""

    @pytest.mark.parametrize("version", [(3, 10), (3, 11), (3, 12), (3, 13), (3, 14)])
    @pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14"])
    def test_accepts(self, platform: str, version: tuple[int, int]) -> None:
        checks.check_platform(platform, "cpython", version, False)

    @pytest.mark.parametrize(
        ("platform", "implementation", "version", "free_threaded", "remedy"),
        [
            ("win32", "cpython", (3, 12), False, "WSL 2"),
            ("cygwin", "cpython", (3, 12), False, "WSL 2"),
            ("emscripten", "cpython", (3, 12), False, "CPython on Linux"),
            ("wasi", "cpython", (3, 12), False, "CPython on Linux"),
            ("linux", "pypy", (3, 10), False, "newer CPython"),
            ("linux", "graalpy", (3, 11), False, "newer CPython"),
            ("linux", "cpython", (3, 9), False, "newer CPython"),
            ("linux", "cpython", (3, 6), False, "newer CPython"),
            ("linux", "cpython", (3, 13), True, "ordinary build of CPython 3.13"),
        ],
    )
    def test_refuses(
        self,
        platform: str,
        implementation: str,
        version: tuple[int, int],
        free_threaded: bool,
        remedy: str,
    ) -> None:
        with pytest.raises(checks.BuildError, match=remedy) as caught:
            checks.check_platform(platform, implementation, version, free_threaded)
        assert str(caught.value).startswith("greenify cannot be built: ")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "build_backend").glob("*.py")), ids=lambda path: path.name
)
def test_backend_can_be_read_by_an_old_python(path: Path) -> None:
    # Otherwise a SyntaxError, not the message, would tell a Python 3.6 that it is too old.
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
