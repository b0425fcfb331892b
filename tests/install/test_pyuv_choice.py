"""Which pyuv is used: the user's own if it works, else the bundled one; neither disturbs the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import greenify._vendor.pyuv as bundled
from tests.support import run_python

_ORIGIN = "from greenify.core import loop; print(loop.pyuv_origin, loop.pyuv_version)"


@pytest.fixture
def own_pyuv(tmp_path: Path) -> Path:
    """A folder with a pyuv of the user's own: the compiled module is a copy, so it is loaded apart."""
    package = tmp_path / "pyuv"
    package.mkdir()
    compiled = Path(bundled._cpyuv.__file__)
    shutil.copy(compiled, package)
    (package / "__init__.py").write_text("from ._cpyuv import *\n__version__ = '1.4.0'\n")
    return tmp_path


def _run(code: str, path: Path | None = None, **env: str) -> str:
    if path is not None:
        env["PYTHONPATH"] = str(path)
    return run_python(code, greenify=False, env=env, check=True).stdout.strip()


def test_own_pyuv_wins(own_pyuv: Path) -> None:
    assert _run(_ORIGIN, own_pyuv) == "system 1.4.0"


def test_bundled_without_one(tmp_path: Path) -> None:
    # Hides a pyuv that may be installed in this environment.
    (tmp_path / "pyuv.py").write_text("raise ModuleNotFoundError(\"No module named 'pyuv'\")")
    assert _run(_ORIGIN, tmp_path) == "bundled 1.4.0"


@pytest.mark.parametrize(
    "source",
    [
        "__version__ = '1.3.9'",
        "raise ImportError('libuv.so.1: cannot open shared object file')",
        "",
    ],
    ids=["too old", "cannot be imported", "empty"],
)
def test_bundled_instead_of_one_that_does_not_work(source: str, tmp_path: Path) -> None:
    (tmp_path / "pyuv.py").write_text(source)
    assert _run(_ORIGIN, tmp_path) == "bundled 1.4.0"


def test_forced(own_pyuv: Path) -> None:
    assert _run(_ORIGIN, own_pyuv, GREENIFY_PYUV="bundled") == "bundled 1.4.0"
    assert _run(_ORIGIN, own_pyuv, GREENIFY_PYUV="system") == "system 1.4.0"


def test_forcing_one_that_is_missing_says_so(tmp_path: Path) -> None:
    (tmp_path / "pyuv.py").write_text("__version__ = '1.3.9'")
    env = {"PYTHONPATH": str(tmp_path), "GREENIFY_PYUV": "system"}
    result = run_python(_ORIGIN, greenify=False, env=env)
    assert result.returncode == 1
    assert "older than 1.4" in result.stderr


_BOTH = """
import sys
{imports}
from greenify._vendor import pyuv as bundled
import pyuv._cpyuv.fs
assert pyuv is sys.modules["pyuv"] and pyuv is not bundled
assert pyuv.fs is sys.modules["pyuv._cpyuv.fs"] and pyuv.fs is not bundled.fs
assert pyuv.Loop is not bundled.Loop
for uv in (pyuv, bundled):
    loop = uv.Loop()
    fired = []
    timer = uv.Timer(loop)
    timer.start(fired.append, 0.001, 0)
    while not fired:
        loop.run(uv.UV_RUN_ONCE)
    timer.close()
    loop.run(uv.UV_RUN_NOWAIT)
print("both")
"""


@pytest.mark.parametrize(
    "imports",
    ["import pyuv", "from greenify._vendor import pyuv as bundled; import pyuv"],
    ids=["own first", "bundled first"],
)
def test_both_in_one_process(imports: str, own_pyuv: Path) -> None:
    assert _run(_BOTH.format(imports=imports), own_pyuv) == "both"


def test_bundled_leaves_no_trace_under_the_name_pyuv() -> None:
    code = """
        import sys
        import greenify._vendor.pyuv
        print([name for name in sys.modules if name.split(".")[0] == "pyuv"])
        try:
            import pyuv._cpyuv.fs
        except ModuleNotFoundError as exc:
            print(exc.name)
    """
    env = {"PYTHONPATH": ""}
    result = run_python(code, greenify=False, options=["-s"], env=env, check=True)
    assert result.stdout.splitlines()[0] == "[]"


def test_both_libuvs_keep_to_themselves() -> None:
    # The compiled module must call its own libuv even when another one is in the global namespace.
    import subprocess

    dynamic = subprocess.run(
        ["readelf", "-d", bundled._cpyuv.__file__], capture_output=True, text=True, check=True
    ).stdout
    assert "SYMBOLIC" in dynamic


def test_version_is_that_of_the_sdist() -> None:
    from build_backend import sdist

    assert bundled.__version__ == sdist.VERSION
