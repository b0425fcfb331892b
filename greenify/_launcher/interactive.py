"""The interactive prompt: Python's own, which the interpreter enters when the launcher returns."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

__all__ = ["inspect_later", "start"]

_NAME = "PYTHONINSPECT"


def inspect_later() -> None:
    """Have the interpreter enter its prompt when the launcher has returned.

    It asks the environment for that.  The variable is gone again when the prompt starts, lest the Python
    programs started from there do the same.
    """
    if sys.flags.inspect or os.environ.get(_NAME):
        return
    os.environ[_NAME] = "1"
    hook: Any = getattr(sys, "__interactivehook__", None)

    def forget() -> None:
        os.environ.pop(_NAME, None)
        if hook is None:
            del sys.__interactivehook__
        else:
            sys.__interactivehook__ = hook
            hook()

    sys.__interactivehook__ = forget


def start(main: ModuleType) -> None:
    """What Python does when it is started without a program: greet, run the start-up file, prompt."""
    if not sys.flags.quiet:
        sys.stderr.write(
            f"Python {sys.version} on {sys.platform}\n"
            'Type "help", "copyright", "credits" or "license" for more information.\n'
        )
    startup = None if sys.flags.ignore_environment else os.environ.get("PYTHONSTARTUP")
    if startup:
        _run_startup(startup, main)
    inspect_later()


def _run_startup(path: str, main: ModuleType) -> None:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as exc:
        sys.stderr.write(f"Could not open PYTHONSTARTUP\n{type(exc).__name__}: {exc}\n")
        return
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(main))
    except Exception as exc:
        # Python reports it and goes on to the prompt.
        sys.excepthook(type(exc), exc, exc.__traceback__ and exc.__traceback__.tb_next)
