"""The interactive prompt: Python's own, which the interpreter enters when the launcher returns.

With lines from a pipe, as editors send them, the interpreter enters it only if it was itself given ``-i``,
which the launcher was given in its place.  Then the launcher calls the very loop of the interpreter.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

__all__ = ["inspect", "inspect_later", "prompts", "start"]

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


def inspect() -> None:
    """What follows a program under ``-i``: the interpreter's prompt later, or now the lines from a pipe."""
    if prompts():
        inspect_later()
    else:
        _run_loop()


def prompts() -> bool:
    """Whether the interpreter enters its prompt by itself if the environment asks for it."""
    return bool(sys.flags.interactive) or os.isatty(0)


def _run_loop() -> None:
    """Read statements from standard input, which is no terminal, and run each in ``__main__``.

    Raises:
        SystemExit: 1, there is no way to call the interpreter's own loop.
    """
    try:
        import ctypes

        stream = ctypes.c_void_p.in_dll(ctypes.pythonapi, "stdin")
        loop = ctypes.pythonapi.PyRun_InteractiveLoopFlags
    except (ImportError, ValueError, AttributeError):
        sys.stderr.write(
            "greenify: -i reads from a pipe only where ctypes can find the interpreter\n"
        )
        raise SystemExit(1) from None
    loop.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    os.environ.pop(_NAME, None)
    hook: Any = getattr(sys, "__interactivehook__", None)
    if hook is not None:
        hook()
    # What the statements need of the future is kept from one to the next.
    flags = (ctypes.c_int * 2)(0, sys.version_info[1])
    loop(stream, b"<stdin>", flags)


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
    inspect()


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
