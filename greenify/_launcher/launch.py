"""The launcher itself: read the command line, patch, run the program."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from greenify._launcher.failure import Report
from greenify._launcher.options import HELP, Command, UsageError, parse, sections
from greenify.errors import PatchError, PyuvMissingError

__all__ = ["main", "run"]


def main() -> None:
    """Run what ``sys.argv`` says; returns when the program has run to its end.

    Raises:
        SystemExit: the program's own, or 2 for a wrong command line or a missing file.
        BaseException: whatever the program raises; its report will not show the launcher.
    """
    prog = _prog()
    try:
        command = parse(sys.argv[1:])
    except UsageError as exc:
        _refuse(prog, str(exc))
    from greenify._launcher.program import leave_path

    leave_path()
    children = sys.modules.get("greenify._launcher.children")
    if children is not None:
        children.restart()
    if command.kind in ("help", "version", "list"):
        _print(prog, command)
    elif command.kind == "command":
        from greenify._launcher.commands import call

        call(prog, command.what, command.argv[1:])
    else:
        run(prog, command)


def run(prog: str, command: Command) -> None:
    """Run the program of `command` in this process, as `main` does.

    Args:
        prog: what the launcher calls itself in messages.
        command: of a kind that runs a program.
    """
    from greenify._launcher.program import CannotOpenError, find

    try:
        prepare = find(command)
    except CannotOpenError as exc:
        sys.stderr.write(f"{_python()}: {exc}\n")
        if not (command.inspect or sys.flags.inspect):
            raise SystemExit(2) from None
        # Python still gives its prompt.
        command = Command("code", argv=[command.what], inspect=True)
        prepare = find(command)
    _patch(prog, command)
    if command.children:
        from greenify._launcher.children import carry

        carry(command.inherited)
    sys.argv[:] = command.argv
    program = prepare()
    try:
        program.run()
    except BaseException as exc:
        if isinstance(exc, SystemExit) and not (command.inspect or sys.flags.inspect):
            # The interpreter does not report it.  A reference from there would keep ``__main__`` alive until
            # after the modules whose functions its finalisers call.
            raise
        report = Report(exc, program.after)
        if not (command.inspect and _shows(exc)):
            report.install()
            raise
        # Under -i it does not end the process: Python shows it like any other exception.
        report.show()
    else:
        program.after()
    if command.inspect and program.inspects:
        from greenify._launcher.interactive import inspect

        inspect()


def _shows(exc: BaseException) -> bool:
    """Whether the launcher has to report `exc` itself under ``-i``; else has the prompt follow the report."""
    from greenify._launcher.interactive import inspect_later, prompts

    if isinstance(exc, SystemExit) or not prompts():
        return True
    inspect_later()
    return False


def _patch(prog: str, command: Command) -> None:
    try:
        from greenify._launcher.applying import apply

        apply(command)
    except PatchError as exc:
        _refuse(prog, str(exc))
    except PyuvMissingError as exc:
        sys.stderr.write(f"{prog}: {exc}\n")
        raise SystemExit(1) from None


def _print(prog: str, command: Command) -> None:
    try:
        if command.kind == "help":
            import textwrap

            from greenify.patches.selection import LIBRARIES, ORDER

            heading = "Patches of libraries, applied when these are imported: "
            commands, features = sections()
            text = HELP.format(
                prog=prog,
                commands=commands,
                features=features,
                python=_python(),
                patches=textwrap.fill("Patches: " + ", ".join(ORDER), 110),
                libraries=textwrap.fill(heading + ", ".join(LIBRARIES), 110),
            )
        else:
            from greenify._launcher.listing import table, versions

            text = versions() if command.kind == "version" else table(command.only, command.skip)
    except PatchError as exc:
        _refuse(prog, str(exc))
    except PyuvMissingError as exc:
        sys.stderr.write(f"{prog}: {exc}\n")
        raise SystemExit(1) from None
    sys.stdout.write(text)


def _refuse(prog: str, message: str) -> NoReturn:
    """A wrong command line, reported as Python reports one."""
    sys.stderr.write(
        f"{message}\n"
        f"usage: {prog} [option] ... [-c cmd | -m mod | file | -] [arg] ...\n"
        f"Try `{_short(prog)} -h' for more information.\n"
    )
    raise SystemExit(2)


def _python() -> str:
    """What Python calls itself in its messages: the name it was started by."""
    return sys.orig_argv[0] if sys.orig_argv else sys.executable


def _prog() -> str:
    name = sys.argv[0] if sys.argv else ""
    if os.path.basename(name) == "__main__.py":
        return f"{_python()} -m greenify"
    return name


def _short(prog: str) -> str:
    program, _, rest = prog.partition(" ")
    return f"{os.path.basename(program)} {rest}".rstrip()
