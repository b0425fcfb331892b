"""``python -m greenify doctor``: run a program, and say at its end who has kept the loop."""

from __future__ import annotations

import argparse
import threading

from greenify._launcher.launch import run
from greenify._launcher.options import UsageError, parse
from greenify.features import seconds
from greenify.watching.doctor import FINEST, Doctor, Options

__all__ = ["main"]

_WITH_VALUE = ("--output", "--fail-over", "--finest")
_ALONE = ("--json", "-h", "--help")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        usage=f"{prog} [option] ... [-c cmd | -m mod | file] [arg] ...",
        description="Run a program, and print at its end who has kept the loop, so that no other thread "
        "could run: where, how often, for how long, and what can be done about it.  The options of the "
        "launcher may follow, then the program with its own.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, to standard output")
    parser.add_argument(
        "--output", metavar="FILE", help="write to FILE, not to standard error (JSON: output)"
    )
    parser.add_argument(
        "--fail-over",
        metavar="SECONDS",
        type=_seconds,
        help="exit with 1 if the loop was kept for longer at once",
    )
    parser.add_argument(
        "--finest",
        metavar="SECONDS",
        type=_seconds,
        default=FINEST,
        help=f"the shortest stay that counts ({FINEST})",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _own(args: list[str]) -> int:
    """How many of the arguments are options of the command itself: those in front."""
    position = 0
    while position < len(args):
        name, equals, _ = args[position].partition("=")
        if name in _WITH_VALUE:
            position += 1 if equals else 2
        elif args[position] in _ALONE:
            position += 1
        else:
            break
    return min(position, len(args))


def main(prog: str, args: list[str]) -> int:
    """The command; returns the exit code.

    Raises:
        SystemExit: the program's own, or 2 for a wrong command line.
        BaseException: whatever the program raises.
    """
    parser = _parser(prog)
    count = _own(args)
    options = parser.parse_args(args[:count])
    try:
        command = parse(args[count:])
    except UsageError as exc:
        parser.error(str(exc))
    if command.kind not in ("file", "module", "code"):
        parser.error("a program is needed")
    doctor = Doctor(Options(**vars(options)))
    try:
        run(prog, command)
    except SystemExit as exc:
        _await_threads()
        if doctor.finish() and not exc.code:
            raise SystemExit(1) from None
        raise
    # Whatever else it raises is reported first, by the interpreter; then the doctor's turn comes.
    _await_threads()
    return int(doctor.finish())


def _await_threads() -> None:
    """Wait for the program's threads, as the interpreter does at its end."""
    me = threading.current_thread()
    for thread in threading.enumerate():
        if thread is not me and not thread.daemon:
            thread.join()
