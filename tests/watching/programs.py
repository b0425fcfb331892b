"""Programs in which somebody keeps the loop, run in children; what the watch says comes back as JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support import Mode, run_python

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a thread does")

#: What the programs share.  `Held` is a call in C that waits until it is let go, and gives up the interpreter
#: lock; `keep` waits for some time and keeps it.
PRELUDE = """
    import ctypes, json, os, sys, threading, time
    import greenify

    LONG = 20.0
    found = []
    original = greenify.original
    libc = ctypes.CDLL(None)
    native = original("threading")

    class Held:
        def __init__(self):
            self.reader, self.writer = os.pipe()
            self.buffer = ctypes.create_string_buffer(1)
        def wait(self):
            libc.read(self.reader, self.buffer, 1)
        def let_go(self):
            os.write(self.writer, b"x")

    def held_for(seconds):
        '''One that is let go: the kernel goes on with such a read after a signal, unlike with usleep.'''
        held = Held()
        native.Timer(seconds, held.let_go).start()
        return held

    def keep(seconds):
        libc_keeping.usleep(int(seconds * 1e6))

    libc_keeping = ctypes.PyDLL(None)

    def others(count=1, name="other"):
        '''Threads that are ready again and again.'''
        def run():
            while not over:
                time.sleep(0.001)
        threads = [threading.Thread(target=run, name=f"{name}-{n}") for n in range(count)]
        for thread in threads:
            thread.start()
        return threads

    over = []

    def call(function, *args, name="culprit"):
        thread = threading.Thread(target=function, args=args, name=name)
        thread.start()
        thread.join(LONG)
        assert not thread.is_alive(), "it has not ended"

    def until_seen(function):
        '''Again, if need be: on a busy machine the native thread may be too late to see whose it was.'''
        for _ in range(20):
            call(function)
            watch.flush()
            if any(row.function.endswith("culprit") for report in found for row in report.stack):
                return

    def show():
        over.append(True)
        print(json.dumps([report.facts() for report in found]))
"""


def write(folder: Path, code: str) -> Path:
    """The whole program as a file, for its lines are shown."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(code))
    return path


def line_of(path: Path, text: str) -> int:
    """The number of the only line with `text`."""
    (number,) = (n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)
    return number


def reports(path: Path, mode: Mode = True, **options: Any) -> list[dict[str, Any]]:
    """Run the program, which ends with ``show()``; what has been reported."""
    result = run_python(path, greenify=mode, check=True, **options)
    assert result.stderr == ""
    found: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    return found


def ours(found: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Those reports that are about the line that is marked."""
    line = line_of(path, "# here")
    return [report for report in found if any(row["line"] == line for row in report["stack"])]
