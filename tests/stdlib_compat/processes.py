"""Stacks of a process that hangs, and the end of all that it started (Linux: reads /proc)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

#: Signals that no test uses: the child answers the first with the stacks of its native threads (in
#: C, so also when Python code doesn't get to run), the second with its greenlets' (see `child.py`).
THREADS_SIGNAL = signal.SIGRTMAX - 3
GREENLETS_SIGNAL = signal.SIGRTMAX - 4

#: In the environment of a child and so of all its descendants, with a value of the child's own.
MARK = "GREENIFY_COMPAT_PROCESS"


def descendants(mark: str) -> list[int]:
    """The processes that carry `mark`, the oldest first."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # It may have ended since; and a process that is ending has no environment any more.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def kill_all(mark: str) -> None:
    """Kill a child and whatever it left behind; again, since a process may fork meanwhile."""
    while pids := descendants(mark):
        for pid in pids:
            _send(pid, signal.SIGKILL)
        time.sleep(0.02)


def dump_stacks(mark: str, log: Path) -> str:
    """Have a child and its descendants write their stacks to `log`, and return what they wrote.

    Asks only processes that handle the signals: the others are programs that a test has started,
    and would die.
    """
    start = log.stat().st_size
    for pid in descendants(mark):
        with log.open("a", encoding="utf-8") as stream:
            command = _read(pid, "cmdline").replace("\0", " ")
            stream.write(f"\n=== native threads of process {pid}: {command}\n")
            stream.write(f"{_state(pid)}\n")
        if _catches(pid, THREADS_SIGNAL):
            _send(pid, THREADS_SIGNAL)
            _until_quiet(log, 1)
        if _catches(pid, GREENLETS_SIGNAL):
            _send(pid, GREENLETS_SIGNAL)
            _until_quiet(log, 3, f"=== end of process {pid}\n")
    with log.open("rb") as stream:
        stream.seek(start)
        return stream.read().decode("utf-8", "backslashreplace")


def _until_quiet(log: Path, seconds: float, ending: str | None = None) -> None:
    """Wait until `log` ends with `ending` or, without one, has grown and stopped growing."""
    deadline = time.monotonic() + seconds
    size, grown = log.stat().st_size, False
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = log.stat().st_size
        if ending is None and grown and now == size:
            return
        if ending is not None and now != size:
            with log.open("rb") as stream:
                stream.seek(max(0, now - 400))
                if stream.read().decode("utf-8", "backslashreplace").endswith(ending):
                    return
        grown, size = grown or now != size, now


def _state(pid: int) -> str:
    wanted = ("State", "Threads", "SigBlk", "SigPnd", "ShdPnd")
    return ", ".join(line for line in _status(pid) if line.startswith(wanted)).replace("\t", " ")


def _catches(pid: int, number: int) -> bool:
    for line in _status(pid):
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _status(pid: int) -> Iterator[str]:
    yield from _read(pid, "status").splitlines()


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text("utf-8", "backslashreplace")
    except OSError:
        return ""


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
