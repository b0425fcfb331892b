"""The launcher's commands: ``python -m greenify NAME ...``, as a table.

A command goes before a script of the same name, which ``./NAME`` runs.  Its module is imported only when it
is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

__all__ = ["COMMANDS", "Subcommand", "call"]


@dataclass(frozen=True)
class Subcommand:
    """One command.

    Attributes:
        function: what it runs, as ``"package.module:function"``, called with what the command calls itself in
            messages (``"python -m greenify ps"``) and the list of its arguments; it returns the exit code, or
            None for 0.
        usage: its arguments, as the help shows them.
        help: what it does, in a line of at most 60 characters.
    """

    function: str
    usage: str
    help: str


#: By the names of the commands.
COMMANDS: dict[str, Subcommand] = {
    "doctor": Subcommand(
        "greenify._launcher.doctor:main",
        "file [arg] ...",
        "run a program, and say who kept the others waiting",
    ),
    "trace-report": Subcommand(
        "greenify.tracing.command:main",
        "FILE",
        "what a trace (--trace FILE) shows, in words or as HTML",
    ),
    "ps": Subcommand("greenify.inspect.commands:ps", "[PID]", "who waits for what in a process"),
    "tree": Subcommand("greenify.inspect.commands:tree", "PID", "who has started whom there"),
    "stacks": Subcommand(
        "greenify.inspect.commands:stacks", "PID [THREAD]", "where everybody is there"
    ),
    "top": Subcommand("greenify.inspect.top:top", "PID", "the same as ps, live"),
}


def call(prog: str, name: str, args: list[str]) -> None:
    """Run the command `name`.

    Raises:
        SystemExit: with its exit code, if that is not 0.
    """
    module, _, function = COMMANDS[name].function.partition(":")
    code = getattr(import_module(module), function)(f"{prog} {name}", args)
    if code:
        raise SystemExit(code)
