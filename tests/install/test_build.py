"""What is built (wheel, sdist), what is in it, and that it installs where nothing can be compiled."""

from __future__ import annotations

import configparser
import email
import email.message
import hashlib
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from build_backend import sdist as pyuv_sdist
from greenify._version import __version__
from tests.install.tools import (
    SDIST,
    Venv,
    check_installation,
    copy_tree,
    run,
    site_packages,
    succeed,
)
from tests.support import ROOT


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


class TestWheel:
    def test_is_tagged_for_this_interpreter_and_platform(self, wheel: Path) -> None:
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        platform = re.sub(r"[.-]", "_", sysconfig.get_platform())
        assert wheel.name == f"greenify-{__version__}-{tag}-{tag}-{platform}.whl"

    def test_holds_the_package_and_nothing_else(self, wheel: Path, tree: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        files = {name for name in names if ".dist-info/" not in name}
        vendored = {name for name in files if name.startswith("greenify/_vendor/pyuv/")}
        assert {Path(name).name for name in vendored} == {
            "__init__.py",
            "_cpyuv" + sysconfig.get_config_var("EXT_SUFFIX"),
            "LICENSE",
            "AUTHORS",
        }
        sources = {path.relative_to(tree).as_posix() for path in (tree / "greenify").rglob("*.py")}
        assert files - vendored == {name for name in sources if "/pyuv/" not in name} | {
            "greenify/py.typed"
        }

    def test_has_no_debug_information(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if "/_cpyuv" in name]
            compiled = archive.read(name)
        assert b".debug_info" not in compiled
        assert len(compiled) < 1_000_000, len(compiled)

    def test_metadata(self, wheel: Path) -> None:
        metadata = _metadata(wheel)
        assert metadata["Name"] == "greenify"
        assert metadata["Version"] == __version__
        assert metadata["Requires-Python"] == ">=3.10"
        requires = metadata.get_all("Requires-Dist", [])
        assert [each for each in requires if "extra ==" not in each] == [
            'greenlet>=3.0; python_version < "3.13"',
            'greenlet>=3.1; python_version == "3.13"',
            'greenlet>=3.2.3; python_version == "3.14"',
            'greenlet>=3.5.4; python_version >= "3.15"',
        ]
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        extras = set(config["options.extras_require"])
        assert set(metadata.get_all("Provides-Extra", [])) == extras

    def test_license_is_in_it(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [n for n in archive.namelist() if re.search(r"dist-info/.*LICENSE$", n)]
            assert archive.read(name) == (ROOT / "LICENSE").read_bytes()

    def test_installs_without_compiler_and_without_index(
        self, wheelhouse: Path, tmp_path: Path
    ) -> None:
        venv = Venv.make(tmp_path / "venv")
        env = {"PATH": str(venv.path / "bin"), "CC": "/nonexistent", "PIP_NO_INDEX": "1"}
        venv.install("--find-links", wheelhouse, "greenify", env=env)
        check_installation(venv, files_in=site_packages(venv))


class TestSdist:
    def test_carries_the_published_pyuv(self, sdist: Path) -> None:
        with tarfile.open(sdist) as archive:
            names = {name.split("/", 1)[-1] for name in archive.getnames()}
            file = archive.extractfile(f"greenify-{__version__}/build_backend/{SDIST}")
            assert file is not None
            assert hashlib.sha256(file.read()).hexdigest() == pyuv_sdist.SHA256
        wanted = {"setup.cfg", "LICENSE", "Makefile", "tox.ini", "build_backend/pyuv_compat.h"}
        assert wanted | {"tests/support.py", "tests/install/test_build.py", ".ci/run"} <= names
        assert not [name for name in names if name.endswith((".so", ".pyc"))]

    def test_installs(self, sdist: Path, tmp_path: Path) -> None:
        venv = Venv.make(tmp_path / "venv")
        venv.install(sdist)
        check_installation(venv, files_in=site_packages(venv))


def test_editable_install_runs_from_the_tree(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    venv = Venv.make(tmp_path / "venv")
    venv.install("--editable", tree)
    check_installation(venv, files_in=tree / "greenify")


def test_pyuv_is_fetched_through_pip_and_checked(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", with_pyuv=False)
    target = tree / "build_backend" / SDIST
    # A file by that name which is not the published one is replaced, not used.
    target.write_bytes(b"something else")
    succeed(sys.executable, "-c", "from build_backend import sdist; sdist.fetch()", cwd=tree)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == pyuv_sdist.SHA256
    assert [path.name for path in target.parent.glob("tmp*")] == []


def test_second_build_does_not_compile(tree: Path, wheel: Path) -> None:
    # `wheel` was the first build in `tree`.  With no compiler on PATH, a second one needs the kept result.
    code = "from build_backend import compiler; assert compiler.is_built(); compiler.build()"
    succeed(sys.executable, "-c", code, cwd=tree, env={"PATH": "/nonexistent"})
    changed = run(sys.executable, "-c", code, cwd=tree, env={"CFLAGS": "-O1"})
    assert "AssertionError" in changed.stdout, "other compiler flags must compile again"


def test_version_is_in_one_place() -> None:
    found = subprocess.run(
        [
            "grep",
            "-rlF",
            f'"{__version__}"',
            "--include=*.py",
            "greenify",
            "setup.py",
            "build_backend",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == ["greenify/_version.py"]
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: greenify._version.__version__"


class TestNotices:
    """LICENSE repeats each notice of the C files that are compiled into the wheel."""

    # Files of the sdist that no supported platform compiles.
    UNUSED = ("src/win/", "android-ifaddrs", "stdint-msvc2008", "pthread-fixes", "/os390", "/aix")

    @pytest.fixture
    def sources(self, tree: Path, wheel: Path) -> dict[str, str]:
        with tarfile.open(tree / "build_backend" / SDIST) as archive:
            found = {}
            for member in filter(tarfile.TarInfo.isfile, archive):
                name = member.name.split("/", 1)[1]
                if name.endswith((".c", ".h")) and not any(each in name for each in self.UNUSED):
                    file = archive.extractfile(member)
                    assert file is not None
                    found[name] = file.read().decode("utf-8")
            return found

    @staticmethod
    def _words(text: str) -> str:
        return " ".join(re.sub(r"[/*]", " ", text).split())

    def test_every_notice(self, sources: dict[str, str]) -> None:
        ours = self._words((ROOT / "LICENSE").read_text(encoding="utf-8"))
        notices = 0
        for name, text in sources.items():
            for comment in re.findall(r"/\*.*?\*/", text, re.DOTALL):
                # "Copyright" in the prose of a license is lower or upper case.
                if re.search(r"^\W*Copyright", comment, re.MULTILINE):
                    notices += 1
                    words = self._words(comment).lstrip("- ")
                    assert words in ours, f"LICENSE lacks the notice of {name}"
        assert notices > 50

    def test_pyuv_itself(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read("greenify/_vendor/pyuv/LICENSE").decode("utf-8")
        ours = self._words((ROOT / "LICENSE").read_text(encoding="utf-8"))
        assert "Saúl Ibarra Corretgé" in text
        assert self._words(text) in ours
