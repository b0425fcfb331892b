"""The launcher's tables: its commands, and the features that options and the environment turn on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from greenify import features
from greenify._launcher import commands
from greenify._launcher.commands import COMMANDS, Subcommand
from greenify._launcher.options import UNKNOWN, Command, UsageError, parse, sections
from greenify.errors import PatchError
from greenify.features import FEATURES, Feature
from tests.launcher.compare import run


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Tables of our own, whose functions leave here what they are called with."""
    found: list[object] = []
    module = ModuleType("rows")
    vars(module).update(
        show=lambda prog, args: found.append((prog, args)),
        fail=lambda prog, args: 3,
        blink=lambda value: found.append(("blink", value)),
        draw=lambda value: found.append(("draw", value, features.value("frames"))),
    )
    monkeypatch.setitem(sys.modules, "rows", module)
    monkeypatch.setitem(COMMANDS, "show", Subcommand("rows:show", "[FILE]", "shows it"))
    monkeypatch.setitem(COMMANDS, "fail", Subcommand("rows:fail", "", "fails"))
    for row in (
        Feature("blink", features.seconds, "rows:blink", "SECONDS", "0.5", ("every so often",)),
        Feature("draw", features.file_name, "rows:draw", "FILE", None, ("a picture",)),
        Feature("frames", features.seconds, None, "SECONDS", None, ("of one picture",)),
        Feature("loud", features.switch, "rows:blink", None, "1", ("with noise",)),
        Feature("at", features.signal_number, "rows:blink", "SIGNAL", None, ("when it comes",)),
    ):
        monkeypatch.setitem(FEATURES, row.option, row)
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.setattr(features, "_asked", {})
    monkeypatch.setattr(features, "_on", {})
    return found


class TestCommands:
    def test_a_command_goes_before_a_file(self, called: list[object]) -> None:
        assert parse(["show", "-x", "y"]) == Command("command", "show", ["show", "-x", "y"])
        for args in (["./show"], ["--", "show"], ["-m", "show"], ["-c", "show"], ["f", "show"]):
            assert parse(args).kind != "command"

    @pytest.mark.parametrize("options", [["--skip", "ssl"], ["-i"], ["--children"], ["--loud"]])
    def test_options_go_behind_it(self, called: list[object], options: list[str]) -> None:
        with pytest.raises(UsageError, match=r"behind the command show \(the file is \./show\)"):
            parse([*options, "show"])

    def test_it_gets_its_arguments(self, called: list[object]) -> None:
        commands.call("python -m greenify", "show", ["a", "-b"])
        assert called == [("python -m greenify show", ["a", "-b"])]

    def test_exit_code(self, called: list[object]) -> None:
        with pytest.raises(SystemExit) as caught:
            commands.call("greenify", "fail", [])
        assert caught.value.code == 3

    def test_help_names_them(self, called: list[object]) -> None:
        assert "\n  show [FILE]    shows it\n" in sections()[0]

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_row(self, name: str, tmp_path: Path) -> None:
        found = run(["-m", "greenify"], [name, "--help"], cwd=tmp_path)
        assert (found.code, found.stderr) == (0, "")
        assert f"-m greenify {name}" in found.stdout


class TestFeatures:
    def test_forms(self, called: list[object]) -> None:
        args = ["--blink", "--draw", "f", "--frames=2", "--loud", "--at", "usr1", "x.py"]
        command = parse(args)
        assert command.features == {
            "blink": "0.5",
            "draw": "f",
            "frames": "2",
            "loud": "1",
            "at": "usr1",
        }
        assert (command.kind, command.what) == ("file", "x.py")
        # Children get the same.
        assert parse([*command.inherited, "x.py"]).features == command.features

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--blink=soon"], "--blink=soon: that is no positive number of seconds"),
            (["--blink=0"], "--blink=0: that is no positive number of seconds"),
            (["--blink=inf"], "--blink=inf: that is no positive number of seconds"),
            (["--draw"], "Argument expected for the --draw option"),
            (["--draw="], "--draw=: that is no name of a file"),
            (["--loud=1"], f"{UNKNOWN} --loud=1"),
            (["--at", "SIGNOTHING"], "--at=SIGNOTHING: there is no such signal"),
            (
                ["--at", "KILL"],
                "--at=KILL: no process is told of that signal: take another one, as USR1",
            ),
        ],
    )
    def test_mistakes(self, called: list[object], args: list[str], message: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse(args)
        assert str(caught.value) == message

    def test_environment(self, called: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GREENIFY_BLINK", "0.25")
        monkeypatch.setenv("GREENIFY_LOUD", "0")
        monkeypatch.setenv("GREENIFY_AT", "")
        assert features.wanted() == {"blink": 0.25}
        features.turn_on(features.wanted())
        features.turn_on(features.wanted())
        assert called == [("blink", 0.25)]

    def test_options_go_before_it(
        self, called: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GREENIFY_BLINK", "wrong")
        features.ask({"blink": "2", "draw": "f", "frames": "3"})
        features.turn_on(features.wanted())
        assert called == [("blink", 2.0), ("draw", "f", 3.0)]

    def test_wrong_variable(self, called: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GREENIFY_BLINK", "often")
        with pytest.raises(PatchError, match="GREENIFY_BLINK=often: that is no positive number"):
            features.wanted()

    def test_help_names_them(self, called: list[object]) -> None:
        text = sections()[1]
        assert "  --loud         with noise\n" in text
        assert "  --blink[=SECONDS]\n                 every so often\n" in text
        assert "  --draw FILE    a picture\n" in text

    @pytest.mark.parametrize("name", FEATURES)
    def test_every_row(self, name: str) -> None:
        row = FEATURES[name]
        assert row.option == name
        if row.default is not None:
            row.read(row.default)
        assert max(map(len, row.help)) <= 60
