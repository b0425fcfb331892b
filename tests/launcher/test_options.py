"""The launcher's own command line, and what it prints by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenify
from greenify._launcher.options import UNKNOWN, Command, UsageError, parse
from greenify.patches.selection import LIBRARIES, ORDER
from tests.launcher.compare import Outcome, assert_same, run
from tests.support import child_env


def launch(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Outcome:
    return run(["-m", "greenify"], args, cwd=cwd, env=env)


USAGE = (
    f"usage: {sys.executable} -m greenify [option] ... [-c cmd | -m mod | file | -] [arg] ...\n"
    f"Try `{Path(sys.executable).name} -m greenify -h' for more information.\n"
)


class TestParse:
    @pytest.mark.parametrize(
        ("args", "command"),
        [
            ([], Command("stdin", argv=[""])),
            (["--"], Command("stdin", argv=[""])),
            (["-"], Command("stdin", "-", ["-"])),
            (["-", "-c", "x"], Command("stdin", "-", ["-", "-c", "x"])),
            (["f", "--list", "-x"], Command("file", "f", ["f", "--list", "-x"])),
            (["--", "-f", "--"], Command("file", "-f", ["-f", "--"])),
            (["-c", "x", "--", "-c"], Command("code", "x", ["-c", "--", "-c"])),
            (["-cx", "y"], Command("code", "x", ["-c", "y"])),
            (["-c", "-m"], Command("code", "-m", ["-c"])),
            (["-m", "mod", "--help"], Command("module", "mod", ["-m", "--help"])),
            (["-imod", "x"], Command("module", "od", ["-m", "x"], inspect=True)),
            (["-immod", "x"], Command("module", "mod", ["-m", "x"], inspect=True)),
            (["-i", "f", "-i"], Command("file", "f", ["f", "-i"], inspect=True)),
            (["--only", "a,b", "f"], Command("file", "f", ["f"], only="a,b")),
            (["--only=a", "--only", "b", "f"], Command("file", "f", ["f"], only="a,b")),
            (["--skip=", "-"], Command("stdin", "-", ["-"], skip="")),
            (["--only", "-c", "f"], Command("file", "f", ["f"], only="-c")),
            (
                ["--offload", "a:b", "--offload=c:d", "--native=e", "f"],
                Command("file", "f", ["f"], offload="a:b,c:d", native="e"),
            ),
            (["--list"], Command("list", argv=[""])),
            (["--list", "--skip", "a"], Command("list", argv=[""], skip="a")),
            (["--skip", "a", "--list", "f"], Command("list", argv=[""], skip="a")),
            (["-h"], Command("help", argv=[""])),
            (["--help", "f"], Command("help", argv=[""])),
            (["-V"], Command("version", argv=[""])),
            (["-iV"], Command("version", argv=[""], inspect=True)),
        ],
    )
    def test_forms(self, args: list[str], command: Command) -> None:
        assert parse(args) == command

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["-c"], "Argument expected for the -c option"),
            (["-im"], "Argument expected for the -m option"),
            (["--only"], "Argument expected for the --only option"),
            (["-z"], "Unknown option: -z"),
            (["--frobnicate"], f"{UNKNOWN} --frobnicate"),
            (["--list=x"], f"{UNKNOWN} --list=x"),
            (["--on", "x"], f"{UNKNOWN} --on"),
        ],
    )
    def test_mistakes(self, args: list[str], message: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse(args)
        assert str(caught.value) == message

    def test_option_of_python(self) -> None:
        with pytest.raises(UsageError, match="goes before -m greenify: -u -m greenify"):
            parse(["-u", "script.py"])

    def test_children_inherit_what_is_named(self) -> None:
        command = parse(["--offload", "a:b", "--native=c", "--skip", "ssl", "--children", "f"])
        assert command.inherited == ["--offload=a:b", "--native=c", "--skip=ssl"]


class TestMistakes:
    @pytest.mark.parametrize("args", [["-z", "x.py"], ["-c"], ["--frobnicate"]], ids=" ".join)
    def test_in_pythons_words(self, tmp_path: Path, args: list[str]) -> None:
        found = launch(*args, cwd=tmp_path)
        expected = run([], args, cwd=tmp_path)
        assert found.code == expected.code == 2
        assert found.stdout == ""
        assert found.stderr.split("\n")[0] == expected.stderr.split("\n")[0]
        assert found.stderr.split("\n", 1)[1] == USAGE

    def test_unknown_patch(self, tmp_path: Path) -> None:
        for option in ("--only", "--skip"):
            found = launch(option, "time,sokcet", "-c", "print('ran')", cwd=tmp_path)
            assert (found.code, found.stdout) == (2, "")
            message, rest = found.stderr.split("\n", 1)
            assert "did you mean 'socket'?" in message
            assert message.endswith(f"{', '.join(ORDER)}; of libraries: {', '.join(LIBRARIES)}")
            assert rest == USAGE

    def test_patch_without_what_it_needs(self, tmp_path: Path) -> None:
        found = launch("--skip", "socket", "-c", "print('ran')", cwd=tmp_path)
        assert (found.code, found.stdout) == (2, "")
        assert found.stderr.startswith("the patch 'ssl' needs 'socket': do not skip that")

    def test_no_pyuv(self, tmp_path: Path) -> None:
        (tmp_path / "pyuv.py").write_text("__version__ = '1.3'\n")
        env = {"PYTHONPATH": str(tmp_path), "GREENIFY_PYUV": "system"}
        for args in (["-c", "1"], ["--version"], ["--list"]):
            found = launch(*args, cwd=tmp_path, env=env)
            assert (found.code, found.stdout) == (1, "")
            assert found.stderr.startswith(
                f"{sys.executable} -m greenify: greenify needs pyuv >= 1.4"
            )
            assert found.stderr.count("\n") == 1


class TestSelection:
    CODE = "import greenify; print(*[n for n in greenify.ORDER if greenify.is_patched(n)])"

    def test_everything(self, tmp_path: Path) -> None:
        assert launch("-c", self.CODE, cwd=tmp_path).stdout.split() == list(ORDER)

    def test_only(self, tmp_path: Path) -> None:
        found = launch("--only", "socket,time", "--only=ssl", "-c", self.CODE, cwd=tmp_path)
        assert found.stdout.split() == ["time", "socket", "ssl"]

    def test_skip(self, tmp_path: Path) -> None:
        found = launch("--skip=signal", "-c", self.CODE, cwd=tmp_path)
        assert found.stdout.split() == [name for name in ORDER if name != "signal"]


class TestPrinted:
    def test_list(self, tmp_path: Path) -> None:
        found = launch("--list", cwd=tmp_path)
        assert (found.code, found.stderr) == (0, "")
        head, *lines = found.stdout.splitlines()
        assert head.split() == ["PATCH", "REPLACED", "BY"]
        assert {line.split()[0] for line in lines} <= {*ORDER, *LIBRARIES}
        rows = [line.split() for line in lines]
        assert ["time", "time.sleep", "greenify.green.time.sleep"] in rows
        assert ["socket", "socket.socket.accept"] in [row[:2] for row in rows]
        # Columns: each begins where its heading does.
        for title in ("REPLACED", "BY"):
            assert {line[head.index(title) - 1] for line in lines} == {" "}

    def test_list_of_some(self, tmp_path: Path) -> None:
        found = launch("--only", "time", "--list", cwd=tmp_path)
        assert len(found.stdout.splitlines()) == 2
        assert launch("--list", "--only=time", cwd=tmp_path) == found
        assert launch("--list", "--only=tme", cwd=tmp_path).code == 2

    def test_version(self, tmp_path: Path) -> None:
        import greenlet

        from greenify.core.loop import libuv_version, pyuv_version

        for option in ("--version", "-V"):
            found = launch(option, cwd=tmp_path)
            assert (found.code, found.stderr) == (0, "")
            rows = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
            assert list(rows) == ["greenify", "pyuv", "libuv", "greenlet", "Python"]
            assert re.fullmatch(
                rf"{re.escape(greenify.__version__)} \((sources in|wheel) .+\)", rows["greenify"]
            )
            assert rows["pyuv"].split()[0] == pyuv_version
            assert rows["libuv"] == libuv_version
            assert rows["greenlet"] == greenlet.__version__
            assert rows["Python"].split()[0] == sys.version.split()[0]

    def test_help(self, tmp_path: Path) -> None:
        found = launch("--help", cwd=tmp_path)
        assert (found.code, found.stderr) == (0, "")
        assert found.stdout.startswith(USAGE.splitlines()[0] + "\n")
        for word in ("--only", "--skip", "--list", "--version", "--help", "-i", "-c", "-m"):
            assert word in found.stdout
        for word in (*ORDER, *LIBRARIES):
            assert word in found.stdout
        assert max(map(len, found.stdout.splitlines()[1:])) <= 120
        assert launch("-h", cwd=tmp_path) == found


class TestConsoleScript:
    @pytest.fixture
    def script(self, tmp_path: Path) -> Path:
        # What pip makes of the entry point in setup.cfg.
        path = tmp_path / "bin" / "greenify"
        path.parent.mkdir()
        path.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            "from greenify.__main__ import main\n"
            "if __name__ == '__main__':\n"
            "    sys.exit(main())\n"
        )
        path.chmod(0o755)
        return path

    def call(self, script: Path, *args: str, cwd: Path) -> Outcome:
        done = subprocess.run(
            [str(script), *args],
            cwd=cwd,
            capture_output=True,
            text=True,
            env=child_env(),
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    @pytest.mark.parametrize(
        "args",
        [
            ["program.py", "a", "--list"],
            ["-m", "program", "a"],
            ["-c", "import sys; print(sys.argv, sys.path[:1]); 1 / 0"],
            ["missing.py"],
            ["-c", "raise SystemExit(3)"],
            ["-c", "raise KeyboardInterrupt"],
        ],
        ids=" ".join,
    )
    def test_does_the_same(self, tmp_path: Path, script: Path, args: list[str]) -> None:
        (tmp_path / "program.py").write_text("import sys\nprint(sys.argv, sys.path[0])\n1 / 0\n")
        found = self.call(script, *args, cwd=tmp_path)
        assert found == assert_same(*args, cwd=tmp_path)

    def test_its_own_name(self, tmp_path: Path, script: Path) -> None:
        found = self.call(script, "-z", cwd=tmp_path)
        assert found.stderr == (
            "Unknown option: -z\n"
            f"usage: {script} [option] ... [-c cmd | -m mod | file | -] [arg] ...\n"
            "Try `greenify -h' for more information.\n"
        )

    def test_entry_point(self) -> None:
        from configparser import ConfigParser

        setup = Path(__file__).resolve().parents[2] / "setup.cfg"
        config = ConfigParser()
        config.read(setup)
        scripts = config["options.entry_points"]["console_scripts"].split("\n")
        assert "greenify = greenify.__main__:main" in scripts
