"""Run a program in a fresh ``__main__``, as Python runs a script, a module, a string or standard input."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType
from typing import Any

from greenify._launcher.options import Command
from greenify._launcher.source import compile_file, is_compiled, load_compiled

__all__ = ["CannotOpenError", "Program", "find", "leave_path"]


class CannotOpenError(Exception):
    """The file to run cannot be opened; the text is what Python would print after its name."""


class Program:
    """What is ready to run.

    Attributes:
        run: runs it; whatever it raises is the program's own.
        after: called when that has returned, or its exception has been reported.
        inspects: whether the prompt that ``-i`` asks for comes afterwards; False if it is the program.
    """

    def __init__(
        self,
        run: Callable[[], object],
        after: Callable[[], object] = lambda: None,
        inspects: bool = True,
    ) -> None:
        self.run = run
        self.after = after
        self.inspects = inspects


def find(command: Command) -> Callable[[], Program]:
    """Look for the program.

    Returns:
        What sets up ``sys.argv``, ``sys.path`` and ``__main__`` for it.

    Raises:
        CannotOpenError: there is no such file, or it may not be read.
    """
    if command.kind == "file":
        return _file(command)
    prepare = {"module": _module, "code": _code, "stdin": _stdin}[command.kind]
    return lambda: prepare(command)


def _file(command: Command) -> Callable[[], Program]:
    path = _absolute(command.what)
    if _importer(path) is not None:
        return lambda: _directory(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise CannotOpenError(
            f"can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}"
        ) from None
    return lambda: _script(path, data)


def _directory(path: str) -> Program:
    # It goes onto the path even where a script's directory does not.
    sys.path.insert(0, path)
    _new_main()
    return Program(lambda: _run_module_as_main("__main__", False))


def _script(path: str, data: bytes) -> Program:
    _set_path(os.path.dirname(os.path.realpath(path)))
    main = _new_main()
    main.__file__ = path
    compiled = is_compiled(data[:2], path)
    loader = SourcelessFileLoader if compiled else SourceFileLoader
    main.__loader__ = loader("__main__", path)
    _set_cached(main)
    read = load_compiled if compiled else compile_file
    return Program(lambda: _execute_file(read(data, path), main), lambda: _forget_file(main))


def _module(command: Command) -> Program:
    _set_path(_current_directory())
    _new_main()
    return Program(lambda: _run_module_as_main(command.what, True))


def _code(command: Command) -> Program:
    _set_path("")
    main = _new_main()
    source = command.what + "\n"
    if sys.version_info >= (3, 13):
        import linecache

        # So that tracebacks show the lines.
        linecache.cache["<string>"] = (
            len(source),
            None,
            [line + "\n" for line in source.splitlines()],
            "<string>",
        )
    return Program(lambda: _execute(compile(source, "<string>", "exec", dont_inherit=True), main))


def _stdin(command: Command) -> Program:
    _set_path("")
    main = _new_main()
    if sys.stdin is not None and (command.inspect or sys.stdin.isatty()):
        from greenify._launcher.interactive import start

        return Program(lambda: start(main), inspects=False)
    main.__file__ = "<stdin>"
    _set_cached(main)

    def run() -> None:
        source = b"" if sys.stdin is None else sys.stdin.buffer.read()
        _execute_file(compile_file(source, "<stdin>"), main)

    return Program(run, lambda: _forget_file(main))


def _execute(code: CodeType, main: ModuleType) -> None:
    exec(code, vars(main))


def _execute_file(code: CodeType, main: ModuleType) -> None:
    try:
        _execute(code, main)
    finally:
        # As the interpreter does after files, not after -c and -m: what has been printed comes before the
        # traceback.  Whatever a stream raises, the program's own exception goes on; what cannot be written is
        # reported at the end.
        for stream in (sys.stderr, sys.stdout):
            with suppress(Exception):
                stream.flush()


def _forget_file(main: ModuleType) -> None:
    for name in ("__file__", "__cached__"):
        vars(main).pop(name, None)


def _run_module_as_main(name: str, alter_argv: bool) -> None:
    import runpy

    # What the interpreter itself calls for -m, and for directories and zip files.
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _set_cached(main: ModuleType) -> None:
    if sys.version_info < (3, 15):
        main.__dict__["__cached__"] = None


def _new_main() -> ModuleType:
    """A ``__main__`` module like the one that Python starts with."""
    main: Any = ModuleType("__main__")
    main.__loader__ = BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}  # later made when somebody asks for them
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    module: ModuleType = main
    return module


def leave_path() -> bool:
    """Take out of ``sys.path`` what Python has put in front of it for the launcher.

    So a module of the user's that is called, say, ``queue`` does not get into greenify's way, as it would not
    get into Python's.

    Returns:
        Whether Python does that at all; not with ``-P`` or ``-I``.
    """
    global _has_first
    _has_first = not getattr(sys.flags, "safe_path", sys.flags.isolated)  # safe_path: CPython 3.11
    if _has_first:
        del sys.path[:1]
    return _has_first


_has_first = False


def _set_path(first: str | None) -> None:
    """Put in front of ``sys.path`` what Python would have put there for the program."""
    if _has_first and first is not None:
        sys.path.insert(0, first)


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _absolute(path: str) -> str:
    # Not os.path.abspath: Python does not normalise the name of a script either.
    if os.path.isabs(path):
        return path
    if path in ("", os.curdir) and sys.version_info >= (3, 11):
        return os.getcwd()
    return os.path.join(os.getcwd(), path)


def _importer(path: str) -> object:
    """The finder for a directory or zip file; None for any other file.  Cached, as Python does."""
    cache = sys.path_importer_cache
    if path not in cache:
        cache[path] = None
        for hook in sys.path_hooks:
            try:
                cache[path] = hook(path)
            except ImportError:
                continue
            break
    return cache[path]
