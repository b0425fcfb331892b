"""A Python at a pseudo-terminal, whose keys a test types."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import textwrap
import time
import warnings
from collections.abc import Iterator

from tests.support import Mode

__all__ = ["Terminal", "terminal"]


class Terminal:
    """A Python at a terminal of its own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.seen = ""

    def comes(self, text: str, seconds: float) -> bool:
        """Whether `text` comes within that time."""
        limit = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < limit:
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._fd, 4096).decode()
                except OSError:
                    break  # it has ended
        return text in self.seen

    def until(self, text: str) -> str:
        """What comes up to and with `text`."""
        limit = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < limit, f"no {text!r} in {self.seen!r}"
            if select.select([self._fd], [], [], 1)[0]:
                try:
                    data = os.read(self._fd, 4096)
                except OSError:
                    data = b""
                assert data, f"it has ended: no {text!r} in {self.seen!r}"
                self.seen += data.decode()
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def end(self) -> str:
        """All the rest."""
        with contextlib.suppress(OSError):
            while data := os.read(self._fd, 4096):
                self.seen += data.decode()
        return self.seen


@contextlib.contextmanager
def terminal(mode: Mode, code: str, *options: str, term: str = "dumb") -> Iterator[Terminal]:
    """Run `code` there; `term` is the terminal's kind."""
    launcher = ["-m", "greenify"] if mode else []
    command = [sys.executable, "-W", "error", *launcher, *options, "-c", textwrap.dedent(code)]
    env = {**os.environ, "TERM": term, "PYTHON_BASIC_REPL": "1", "INPUTRC": "/dev/null"}
    # The size is the terminal's own; xdist sets these.
    for name in ("PYTHONSTARTUP", "LINES", "COLUMNS"):
        env.pop(name, None)
    with warnings.catch_warnings():
        # The child becomes another program at once.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid, fd = pty.fork()
    if not pid:
        os.execve(command[0], command, env)
    try:
        yield Terminal(fd)
    finally:
        os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
