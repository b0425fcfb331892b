"""The launcher's command line, read the way Python reads its own.

Options come first and end at the program (a file, ``-c``, ``-m`` or ``-``); everything after that is the
program's.  argparse cannot do that: it takes options out of the program's arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from greenify._launcher.commands import COMMANDS
from greenify.errors import GreenifyError
from greenify.features import FEATURES

__all__ = ["HELP", "UNKNOWN", "Command", "UsageError", "parse", "sections"]

#: What Python says of a long option that it does not know.
UNKNOWN = "Unknown option:" if sys.version_info >= (3, 14) else "unknown option"

HELP = """\
usage: {prog} [option] ... [-c cmd | -m mod | file | -] [arg] ...

Run a program as Python itself would, with the standard library's blocking calls made cooperative.

What to run (everything after it belongs to the program):
  file           a script, or a directory or zip file with a __main__.py
  -m mod         a module or package
  -c cmd         a program in a string
  -              a program from standard input; so does nothing at all
{commands}
Options:
  --only NAMES   apply only these patches (names with commas)
  --skip NAMES   leave these patches out
  --offload NAMES
                 hand these calls to native threads: package.module:Class.method
                 (at the end: @self for a native thread for each object)
  --native NAMES
                 let the threads that these packages start be native
  --children     patch the Python programs that it starts, too, in the same way
{features}  --list         list everything that would be replaced, and by what, then exit
  -i             inspect interactively after the program has run
  -V, --version  print the versions of greenify and of what it runs on, then exit
  -h, --help     print this help, then exit

{patches}
{libraries}

Options of Python itself go before: {python} -X dev -m greenify file
"""

Kind = Literal["file", "module", "code", "stdin", "command", "help", "version", "list"]

# Python's own options, which may be meant.
_PYTHONS = frozenset("bBdEIOPqRsStuvWxX?")


class UsageError(GreenifyError):
    """The command line is wrong; the text is what Python would say, without the usage line."""


@dataclass
class Command:
    """What the command line asks for.

    Attributes:
        kind: what to run, or what to print.
        what: the file, module, code or command.
        argv: ``sys.argv`` for the program; the command's own arguments follow its name.
        only: the value of ``--only``, or None.
        skip: the value of ``--skip``, or None.
        offload, native: the values of ``--offload`` and ``--native``, or None.
        inspect: whether ``-i`` was given.
        children: whether ``--children`` was given.
        features: the options of `greenify.features`, with their values.
        inherited: the options that children are to be patched with.
    """

    kind: Kind
    what: str = ""
    argv: list[str] = field(default_factory=list)
    only: str | None = None
    skip: str | None = None
    offload: str | None = None
    native: str | None = None
    inspect: bool = False
    children: bool = False
    features: dict[str, str] = field(default_factory=dict)
    inherited: list[str] = field(default_factory=list, compare=False)


def parse(args: Sequence[str]) -> Command:
    """Read the arguments after the launcher's own name.

    Raises:
        UsageError: an unknown option, or one without its value.
    """
    command = Command("stdin", argv=[""])
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "-" or not arg.startswith("-"):
            if arg in COMMANDS:
                if command != Command("stdin", argv=[""]):
                    raise UsageError(f"options go behind the command {arg} (the file is ./{arg})")
                return _run(command, "command", arg, [arg, *rest])
            return _run(command, "stdin" if arg == "-" else "file", arg, [arg, *rest])
        if arg == "--":
            return _run(command, "file", rest[0], rest) if rest else command
        if arg.startswith("--"):
            if _long(command, arg, rest):
                return command
            continue
        letters = arg[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in "cm":
                value = letters or _value(f"-{letter}", rest)
                return _run(
                    command, "code" if letter == "c" else "module", value, [f"-{letter}", *rest]
                )
            if letter == "i":
                command.inspect = True
            elif letter in "hV":
                command.kind = "help" if letter == "h" else "version"
                return command
            else:
                raise UsageError(f"Unknown option: -{letter}{_pythons(letter)}")
    return command


def _run(command: Command, kind: Kind, what: str, argv: list[str]) -> Command:
    command.kind = kind
    command.what = what
    command.argv = argv
    return command


def _long(command: Command, arg: str, rest: list[str]) -> bool:
    """Take one long option; True if it ends the command line."""
    name, equals, value = arg.partition("=")
    if name in ("--only", "--skip", "--offload", "--native"):
        # Given twice, they add up.
        names = value if equals else _value(name, rest)
        field = name.removeprefix("--")
        before = getattr(command, field)
        setattr(command, field, names if before is None else f"{before},{names}")
        command.inherited.append(f"{name}={names}")
        return False
    if name.removeprefix("--") in FEATURES:
        _feature(command, arg, rest)
        return False
    if arg == "--children":
        command.children = True
        return False
    if equals or name not in ("--help", "--version", "--list"):
        raise UsageError(f"{UNKNOWN} {arg}")
    if name == "--list":
        command.kind = "list"
        return not any(option.startswith(("--only", "--skip")) for option in rest)
    command.kind = "help" if name == "--help" else "version"
    return True


def _feature(command: Command, arg: str, rest: list[str]) -> None:
    name, equals, value = arg.removeprefix("--").partition("=")
    feature = FEATURES[name]
    if feature.metavar is None and equals:
        raise UsageError(f"{UNKNOWN} {arg}")
    if not equals:
        value = _value(f"--{name}", rest) if feature.default is None else feature.default
    try:
        feature.read(value)
    except ValueError as exc:
        raise UsageError(f"--{name}={value}: {exc}") from None
    command.features[name] = value
    command.inherited.append(f"--{name}" if feature.metavar is None else f"--{name}={value}")


def sections() -> tuple[str, str]:
    """What the help says of the commands, and of the options that turn on features."""
    commands = "".join(
        f"{_entry(f'{name} {row.usage}'.rstrip(), row.help)}" for name, row in COMMANDS.items()
    )
    if commands:
        commands = f"\nCommands, each with a --help of its own (./NAME runs a file of that name):\n{commands}"
    features = "".join(_entry(row.usage, *row.help) for row in FEATURES.values())
    return commands, features


def _entry(usage: str, *lines: str) -> str:
    """One entry of the help: its text beside `usage`, or below if that is long."""
    indent = "\n" + " " * 17
    first = f"  {usage:<14} " if len(usage) <= 14 else f"  {usage}{indent}"
    return first + indent.join(lines) + "\n"


def _value(option: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"Argument expected for the {option} option")
    return rest.pop(0)


def _pythons(letter: str) -> str:
    if letter in _PYTHONS:
        return f" (if that is for Python itself, it goes before -m greenify: -{letter} -m greenify)"
    return ""
