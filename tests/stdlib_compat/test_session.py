"""From the command line to the exit code, with a test module of our own in the place of CPython's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from . import __main__ as command
from . import control as controls
from . import interpreters, modules, session, supervisor
from .expected import Row
from .modules import Interpreter, Module, Part

SOURCE = """
import os, sys, unittest

class Tests(unittest.TestCase):
    def test_always(self): pass

    def test_never(self): self.fail("never passes")

    def test_plain_only(self): self.assertFalse(hasattr(sys, "layer"))

    def test_second_time(self):
        if hasattr(sys, "layer"):
            with open({count!r} + "2", "a") as stream:
                stream.write("x")
            self.assertEqual(os.path.getsize({count!r} + "2"), 2)

    def test_sometimes(self):
        # Passes once.
        with open({count!r}, "a") as stream:
            stream.write("x")
        self.assertEqual(os.path.getsize({count!r}), 1)
"""

LINGERING = """
import sys, threading, unittest

class Tests(unittest.TestCase):
    def test_always(self): pass

    def test_lingers(self):
        if hasattr(sys, "layer"):
            threading.Thread(target=threading.Event().wait).start()
            self.fail()
"""

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, on a table with `test_queue` (a fake) and `test_smtpd` (absent)."""
    (tmp_path / "fake.py").write_text(SOURCE.format(count=str(tmp_path / "count")))

    def parts(module: Module, where: Interpreter) -> list[Part]:
        return [Part("test_queue", "fake", (str(tmp_path),))] if module.name == "test_queue" else []

    monkeypatch.setattr(session, "parts", parts)
    monkeypatch.setitem(supervisor.LAYERS, "greenify", "import sys; sys.layer = 1")
    monkeypatch.setattr(command, "Session", partial(session.Session, cache=tmp_path))
    return lambda *arguments: command.main(["--module", "queue", *arguments])


def test_failures_and_files(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    text = tmp_path / "table.txt"
    written = ("--json", str(results), "--markdown", str(page), "--text", str(text))
    assert run("-m", "smtpd", *written) == 1
    printed = capsys.readouterr().out
    assert "fake.Tests.test_plain_only" in printed
    assert "4 pass unpatched" in printed
    (data,) = json.loads(results.read_text())
    queue, smtpd = data["modules"]
    assert (queue["tests"], queue["pass_unpatched"], queue["pass_patched"]) == (5, 4, 1)
    assert [failure["test"] for failure in queue["fail_unpatched"]] == ["fake.Tests.test_never"]
    assert "smtpd" in smtpd["module"] and smtpd["absent"]
    assert "| test_queue | 5 | 4 | 1 |" in page.read_text()
    assert "| 5 | 4 | 1 | 0 | **25.0%** |" in page.read_text()
    lines = [line.split() for line in text.read_text().splitlines()]
    assert ["test_queue", "5", "4", "1", "0", "25.0%"] in lines
    assert ["all", "5", "4", "1", "0", "25.0%"] in lines


def test_control_is_kept(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run("--layer", "none")
        assert "4 pass unpatched" in capsys.readouterr().out
    assert (tmp_path / "count").read_text() == "x"
    run("--layer", "none", "--fresh-control")
    assert "3 pass unpatched" in capsys.readouterr().out
    assert (tmp_path / "count").read_text() == "xx"


def test_flaky_control(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--confirm", "2", "-v") == 1
    printed = capsys.readouterr().out
    assert "flaky unpatched: fake.Tests.test_sometimes" in printed
    assert "3 pass unpatched" in printed
    # What differs every time is the layer's.
    assert "FAIL    fake.Tests.test_plain_only" in printed


def test_second_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    assert run("--confirm", "1", "--again", "--json", str(results), "--markdown", str(page)) == 1
    printed = capsys.readouterr().out
    assert "SECOND  fake.Tests.test_second_time" in printed
    assert "FAIL    fake.Tests.test_plain_only" in printed
    ((queue,),) = [data["modules"] for data in json.loads(results.read_text())]
    assert (queue["pass_unpatched"], queue["pass_patched"]) == (3, 2)
    assert queue["second_run"] == ["fake.Tests.test_second_time"]
    assert "Passed only when the module was run once more:\n\n- `fake.Tests.test_second_time`" in (
        page.read_text()
    )


def test_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("--alone", "--match", "test_plain_only")
    assert "FAIL    fake.Tests.test_plain_only  (alone: fail)" in capsys.readouterr().out


def test_a_test_whose_process_does_not_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a row that says so it has a process to itself, and the others' process ends."""
    (tmp_path / "fake.py").write_text(LINGERING)
    monkeypatch.setattr(supervisor, "EXIT_TIMEOUT", 2.0)
    reason = "leaves a thread behind that waits for ever"
    for row, problem in ((None, "hang"), (Row("*.test_lingers", reason, lingers=True), "")):
        rows = () if row is None else (row,)
        made = partial(session.Session, cache=tmp_path, rows=rows)
        monkeypatch.setattr(command, "Session", made)
        run("--timeout", "2")
        printed = capsys.readouterr().out
        assert ("no end after" in printed) == bool(problem), printed
        assert ("1 expected" in printed) != bool(problem), printed
        assert "2 pass unpatched      1 patched" in printed
    # The same row about a test that passes: an error, as with all rows.
    (tmp_path / "fake.py").write_text(
        LINGERING.replace("Event().wait", "Event().set").replace("self.fail()", "pass")
    )
    assert run("--fresh-control") == 1
    assert "expected to fail, but passes: fake.Tests.test_lingers" in capsys.readouterr().out


def test_only_matching_tests(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--match", "test_always") == 0
    assert "1 tests" in capsys.readouterr().out


def test_results_of_several_versions_on_one_page(run: Run, tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    run("--match", "test_always", "--json", str(results))
    old = json.loads(results.read_text())
    old[0]["python"] = "3.9.1"
    results.write_text(json.dumps(old))
    run("--match", "test_always", "--markdown", str(page), "--add-results", str(results))
    headings = [line for line in page.read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == "## Python 3.9.1"
    assert len(headings) == 2


def test_unknown_module(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no module 'nonsense' in the table; there are: test_time"):
        command.main(["--module", "nonsense"])


def test_table_names_modules_that_exist() -> None:
    """Each row is found in this interpreter, or says since when it is gone, or this installation lacks it."""
    where = modules.interpreter(sys.executable)
    for row in modules.MODULES:
        if not modules.parts(row, where):
            assert modules.absence(row, where)
        else:
            assert where.version <= row.until


def test_half_written_cache_is_never_seen(tmp_path: Path) -> None:
    where = modules.interpreter(sys.executable)
    kept = controls.Control(where, folder=tmp_path)
    part = Part("m", "m")
    kept._store(part, {"run": {}, "flaky": {"a": "b"}})
    assert kept.flaky(part) == {"a": "b"}
    assert [path.name for path in kept.folder.iterdir()] == ["m.json"]


def test_no_such_version_is_installed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="none of these versions"):
        interpreters.installed(["3.1"])
    assert "CPython 3.1 is needed and not installed" in capfd.readouterr().err


def test_old_logs_are_removed(run: Run, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / "logs" / f"20000101-{number:06}").mkdir(parents=True)
    run("--match", "test_always")
    left = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert len(left) == 51
    assert left[0] == "20000101-000010"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """The child and what it started end, too."""
    (tmp_path / "fake.py").write_text(
        "import os, threading, unittest\n"
        "class Hanging(unittest.TestCase):\n"
        "    def test_x(self):\n"
        f"        with open({str(tmp_path / 'pid')!r}, 'w') as stream: print(os.getpid(), file=stream)\n"
        "        threading.Event().wait()\n"
    )
    program = (
        "import sys\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from tests.stdlib_compat import __main__ as command, session\n"
        "from tests.stdlib_compat.modules import Part\n"
        "folder = sys.argv[1]\n"
        "session.parts = lambda module, where: [Part('fake', 'fake', (folder,))]\n"
        "command.Session = partial(session.Session, cache=Path(folder))\n"
        "sys.argv[1:] = ['--module', 'queue', '--layer', 'none']\n"
        "command.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=supervisor.ROOT)
    try:
        wait_until(
            lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n")
        )
        process.send_signal(number)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.wait()
    child = Path("/proc", (tmp_path / "pid").read_text().strip())
    wait_until(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
