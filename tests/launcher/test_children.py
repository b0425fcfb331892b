"""``--children``: which of the Pythons that a program starts are patched, and what they see of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenify._launcher import children
from greenify._launcher.options import Command, UsageError, parse
from greenify.patches.selection import ORDER
from tests.launcher.compare import Outcome, run
from tests.support import ROOT, child_env

# Says which patches are in force, without importing greenify into a Python that has not got it.
REPORT = (
    "import sys\n"
    "patches = sys.modules.get('greenify.patches')\n"
    "names = [n for n in patches.ORDER if patches.is_patched(n)] if patches else []\n"
    "print(len(names), *(names if len(names) < 3 else ()))\n"
)
EXEC = "import os, sys; os.execv(sys.executable, [sys.executable, 'report.py'])"
EVERYTHING = f"{len(ORDER)}\n"

# Runs `command` and shows what it has said.
START = (
    "import os, subprocess, sys\n"
    "done = subprocess.run({command}, env={env}, capture_output=True, text=True)\n"
    "print(done.stdout, end='')\n"
    "sys.stderr.write(done.stderr)\n"
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "report.py").write_text(REPORT)
    return tmp_path


def start(
    here: Path,
    command: str = "[sys.executable, 'report.py']",
    *,
    options: tuple[str, ...] = ("--children",),
    env: str = "None",
    own_env: dict[str, str] | None = None,
) -> Outcome:
    """Have a program under the launcher run `command`, a Python expression."""
    source = START.format(command=command, env=env)
    return run(["-m", "greenify", *options], ["-c", source], cwd=here, env=own_env)


def plain(outcome: Outcome) -> bool:
    assert outcome == Outcome(0, "0\n", ""), outcome
    return True


def patched(outcome: Outcome) -> bool:
    assert outcome == Outcome(0, EVERYTHING, ""), outcome
    return True


class TestWhich:
    def test_not_without_the_option(self, here: Path) -> None:
        assert plain(start(here, options=()))

    @pytest.mark.smoke
    def test_a_child(self, here: Path) -> None:
        assert patched(start(here))

    @pytest.mark.parametrize(
        "command",
        [
            f"[sys.executable, '-c', {REPORT!r}]",
            "[sys.executable, '-m', 'report']",
            "[sys.executable, '-Wd', '-X', 'faulthandler', '-u', 'report.py']",
            "['/bin/sh', '-c', sys.executable + ' report.py']",
            # gunicorn's new master, an autoreloader.
            f"[sys.executable, '-c', {EXEC!r}]",
            "[sys.executable, '-c', 'import os, sys; os.system(sys.executable + \" report.py\")']",
        ],
    )
    def test_however_it_is_started(self, here: Path, command: str) -> None:
        assert patched(start(here, command))

    @pytest.mark.parametrize("option", ["-I", "-E", "-S"])
    def test_not_one_that_does_not_look_at_its_environment(self, here: Path, option: str) -> None:
        command = f"[sys.executable, {option!r}, '-c', {REPORT!r}]"
        assert plain(start(here, command))

    @pytest.mark.parametrize(
        "env",
        [
            "{}",
            "{'PATH': os.environ['PATH']}",
            "{k: v for k, v in os.environ.items() if k != 'GREENIFY_CHILDREN'}",
            "{**os.environ, 'PYTHONPATH': os.curdir}",
        ],
    )
    def test_not_one_with_an_environment_of_its_own(self, here: Path, env: str) -> None:
        assert plain(start(here, env=env))

    def test_with_more_in_its_environment(self, here: Path) -> None:
        assert patched(start(here, env="{**os.environ, 'RUN_MAIN': 'true'}"))

    def test_not_another_python(self, here: Path) -> None:
        venv = here / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        # It could import greenify, and everything that is needed.
        own_env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        assert plain(
            start(here, f"[{str(venv / 'bin' / 'python')!r}, 'report.py']", own_env=own_env)
        )
        assert patched(start(here, own_env=own_env))

    def test_any_python_can_read_what_is_on_its_path(self) -> None:
        source = Path(children.FOLDER, "sitecustomize.py").read_text()
        ast.parse(source, feature_version=(3, 4))
        names = {entry.name for entry in Path(children.FOLDER).iterdir()}
        assert names - {"__pycache__"} == {"__init__.py", "sitecustomize.py"}

    def test_the_helper_of_multiprocessing_stays_plain(self, here: Path) -> None:
        code = f"from multiprocessing.resource_tracker import main; {REPORT}"
        command = f"[sys.executable, '-c', {code!r}]"
        assert plain(start(here, command))


class TestOptions:
    def test_are_passed_on(self, here: Path) -> None:
        assert start(here, options=("--only", "time", "--children")).stdout == "1 time\n"
        options = ("--children", f"--skip={','.join(ORDER[1:])}", "--skip", "io")
        assert start(here, options=options).stdout == "1 time\n"

    def test_a_launcher_has_its_own(self, here: Path) -> None:
        command = "[sys.executable, '-m', 'greenify', '--only', 'signal', 'report.py']"
        assert start(here, command).stdout == "1 signal\n"

    def test_a_launcher_below_passes_on_its_own(self, here: Path) -> None:
        source = START.format(command="[sys.executable, 'report.py']", env="None")
        command = (
            f"[sys.executable, '-m', 'greenify', '--children', '--only=time', '-c', {source!r}]"
        )
        assert start(here, command).stdout == "1 time\n"

    def test_listing_in_a_child(self, here: Path) -> None:
        command = "[sys.executable, '-m', 'greenify', '--list']"
        assert start(here, command) == start(here, command, options=())

    def test_forms(self) -> None:
        command = parse(["--children", "--only", "a", "--only=b", "-i", "f"])
        assert command == Command("file", "f", ["f"], only="a,b", inspect=True, children=True)
        assert command.inherited == ["--only=a", "--only=b"]
        with pytest.raises(UsageError, match=r"nknown option:? --children=yes"):
            parse(["--children=yes", "f"])


class TestNothingElseChanges:
    SHOW = (
        "import sys\n"
        "print(sys.path, sys.argv, sys.modules.get('sitecustomize'))\n"
        "print([n for n in ('__file__', '__spec__', '__loader__') if n in globals()])\n"
        "print(sys.excepthook is sys.__excepthook__, sys.flags)\n"
        "1 / 0\n"
    )

    def test_what_the_program_sees(self, here: Path) -> None:
        (here / "show.py").write_text(self.SHOW)
        command = "[sys.executable, 'show.py', 'a']"
        own_env = {"PYTHONPATH": f"{here}{os.pathsep}{here / 'missing'}"}
        expected = start(here, command, options=(), own_env=own_env)
        assert start(here, command, own_env=own_env) == expected
        assert "ZeroDivisionError" in expected.stderr
        assert "missing" in expected.stdout

    @pytest.mark.parametrize(
        "source",
        [
            "import sys; sys.before = 'greenify.patches' in sys.modules\n",
            "import nothing_of_this_name\n",
            "1 / 0\n",
            "raise ImportError('no', name='sitecustomize')\n",
        ],
    )
    def test_its_own_sitecustomize_runs_first(self, here: Path, source: str) -> None:
        # The tests' own one stands on the path of every child; here it shall be the program's.
        custom = here / "custom"
        custom.mkdir()
        (custom / "sitecustomize.py").write_text(source)
        (here / "show.py").write_text(
            "import sys\nprint(getattr(sys, 'before', None), 'sitecustomize' in sys.modules)\n"
        )
        env = f"{{**os.environ, 'PYTHONPATH': {children.FOLDER!r} + os.pathsep + {str(custom)!r}}}"
        env_plain = f"{{**os.environ, 'PYTHONPATH': {str(custom)!r}}}"
        command = "[sys.executable, 'show.py']"
        expected = start(here, command, env=env_plain, options=())
        assert start(here, command, env=env) == expected
        assert expected.stdout

    def test_environments(self) -> None:
        for before in ({}, {"PYTHONPATH": "/a"}, {"PYTHONPATH": f"/a{os.pathsep}"}, {"X": "y"}):
            environ = dict(before)
            for _ in range(2):
                children.carry(["--only=time"], environ)
                assert environ["PYTHONPATH"].split(os.pathsep).count(children.FOLDER) == 1
                assert environ["PYTHONPATH"].startswith(children.FOLDER)
            children.take_back(environ)
            assert environ == before
        empty = {"PYTHONPATH": ""}
        children.carry([], empty)
        # With an empty entry beside it, the current directory would be on the path.
        assert empty["PYTHONPATH"] == children.FOLDER


class TestTrouble:
    def test_a_child_without_greenlet(self, here: Path) -> None:
        (here / "greenlet.py").write_text("raise ImportError('no greenlet here')")
        env = (
            f"{{**os.environ, 'PYTHONPATH': os.environ['PYTHONPATH'] + os.pathsep + {str(here)!r}}}"
        )
        found = start(here, env=env)
        assert (found.code, found.stdout) == (0, "0\n")
        assert found.stderr == "greenify: this child is not patched: no greenlet here\n"

    def test_options_that_somebody_has_made_up(self, here: Path) -> None:
        env = (
            "{**os.environ, 'GREENIFY_CHILDREN': os.environ['GREENIFY_CHILDREN'] + '\\n--only=tme'}"
        )
        found = start(here, env=env)
        assert (found.code, found.stdout) == (0, "0\n")
        assert found.stderr.startswith(
            "greenify: this child is not patched: only: there is no patch 'tme'"
        )


class TestTools:
    @pytest.mark.parametrize("options", [(), ("--children",)], ids=["without", "with"])
    def test_workers_of_xdist(self, here: Path, options: tuple[str, ...]) -> None:
        (here / "test_sample.py").write_text(
            "import greenify, os\n"
            "def test_it():\n"
            "    assert 'PYTEST_XDIST_WORKER' in os.environ\n"
            f"    assert greenify.is_patched('thread') is {bool(options)}\n"
        )
        command = [sys.executable, "-m", "greenify", *options, "-m", "pytest", "-q", "-n", "1"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "test_sample.py"],
            cwd=here,
            env=child_env(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done
        assert "1 passed" in done.stdout

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_multiprocessing(self, here: Path, method: str) -> None:
        # The patch of multiprocessing does that by itself: also where it is left out.
        (here / "program.py").write_text(
            "import multiprocessing, sys\n"
            "def work(connection):\n"
            "    import greenify\n"
            "    connection.send([n for n in greenify.ORDER if greenify.is_patched(n)])\n"
            "if __name__ == '__main__':\n"
            "    context = multiprocessing.get_context(sys.argv[1])\n"
            "    ours, theirs = context.Pipe()\n"
            "    process = context.Process(target=work, args=(theirs,))\n"
            "    process.start()\n"
            "    print(ours.recv())\n"
            "    process.join()\n"
        )
        left_out = "multiprocessing"
        found = run(
            ["-m", "greenify", "--children", "--skip", left_out], ["program.py", method], cwd=here
        )
        assert found == Outcome(0, f"{[name for name in ORDER if name != left_out]}\n", "")


def test_it_is_part_of_every_installation() -> None:
    # Found by setuptools as a package, like all others.
    assert Path(children.FOLDER).relative_to(ROOT / "greenify") == Path("_launcher", "site")
