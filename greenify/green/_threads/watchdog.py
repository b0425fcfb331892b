"""`faulthandler.dump_traceback_later`: the stacks are taken while no greenlets switch.

Its watchdog is a thread of C that reads the stacks of all others without the interpreter lock.  A switch of
greenlets exchanges what it reads just then, parts of the C stack among that, and so one in some thousands of
its dumps crashes the process.  Here a native thread of Python's does the same with the interpreter lock.
Behind it the original watchdog is set, a moment later: it says where the program is when C code does not
give the lock back, and then nothing switches.
"""

from __future__ import annotations

import _thread
import atexit
import faulthandler
import os
import sys
from typing import Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.core.native import start_hidden
from greenify.green._copies.builtin import builtin_twin

__all__ = ["GRACE", "REPLACED"]

_dump: Any = faulthandler.dump_traceback
_native_later: Any = faulthandler.dump_traceback_later
_native_cancel: Any = faulthandler.cancel_dump_traceback_later
_native_lock = _thread.allocate_lock
_write = os.write
_close = os.close

#: How many seconds later the original watchdog comes.  A thread that asks for the interpreter lock has it
#: within some milliseconds; on a busy machine, tenths of a second.
GRACE = 0.5

# And by how much it may come later than that: rather twice than not at all.
_MARGIN = 0.005

# Longer ones are the original's to refuse.
_LONGEST = 1e9

# How many seconds `stop` waits for the end of a dump that nobody reads.
_PATIENCE = 1.0


class _Watchdog:
    """One call of `dump_traceback_later`.

    Args:
        begun: a `time.monotonic` time.
        timeout: in seconds from then on.
        fd: of the file.
        options: the other arguments of the original one: whether it is to repeat, the file, whether the
            process is to be left.
        more: those of newer Pythons.
    """

    def __init__(
        self, begun: float, timeout: float, fd: int, options: tuple[Any, ...], more: Any
    ) -> None:
        self._timeout = timeout
        self._fd = fd
        self._options = options
        self._more = more
        self._repeat, _, self._leave = options
        self._begun = begun
        self._over = False
        self._bell: Any = _native_lock()
        self._bell.acquire()
        self._running: Any = _native_lock()

    def start(self) -> None:
        self._running.acquire()
        try:
            start_hidden(self._run, ours=True)
        except RuntimeError:
            # There is no thread to be had: the original one does without.
            self._running.release()
            _native_later(self._timeout, *self._options, **self._more)

    def stop(self) -> None:
        """End it, and wait until it writes nothing any more.  Any other thread."""
        self._over = True
        self._bell.release()
        if self._running.acquire(True, _PATIENCE):
            self._running.release()

    def _run(self) -> None:
        try:
            due = self._begun + self._timeout
            while not self._bell.acquire(True, max(0.0, due - _monotonic())) and not self._over:
                # From here on to the end of the dump the interpreter lock is kept.
                _native_cancel()
                if _monotonic() - due < GRACE + _MARGIN:  # else the original one has been first
                    self._put(self._dump())
                if self._leave:
                    os._exit(1)
                if not self._repeat or self._over:
                    return
                due = _monotonic() + self._timeout
                _native_later(self._timeout + GRACE, *self._options, **self._more)
        finally:
            self._running.release()

    def _dump(self) -> bytes:
        title = _title(self._timeout)
        try:
            file = _make_file()
        except OSError:
            # There is no descriptor left: with our own thread.
            self._put(title)
            _dump(self._fd, True, **self._more)
            return b""
        try:
            _dump(file, True, **self._more)
            text = os.pread(file, os.fstat(file).st_size, 0)
        finally:
            _close(file)
        parts = text.split(b"\n\n")
        # The one that dumps is ours.
        return title + b"\n\n".join(part for part in parts if not part.startswith(b"Current "))

    def _put(self, text: bytes) -> None:
        while text:
            try:
                text = text[_write(self._fd, text) :]
            except OSError:
                return  # as the original one does


def _title(timeout: float) -> bytes:
    seconds, micros = divmod(round(timeout * 1e6), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = f".{micros:06d}" if micros else ""
    return f"Timeout ({hours}:{minutes:02d}:{seconds:02d}{parts})!\n".encode()


def _make_file() -> int:
    """A file without a name."""
    if sys.platform == "linux":
        return os.memfd_create("stacks")
    import tempfile

    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd


_current: _Watchdog | None = None


def dump_traceback_later(
    timeout: Any, repeat: Any = False, file: Any = None, exit: Any = False, **more: Any
) -> None:
    """See `faulthandler.dump_traceback_later`.  Any thread."""
    global _current
    cancel_dump_traceback_later()
    if file is None:
        file = sys.stderr
    if not isinstance(timeout, (int, float)) or not 0 < timeout < _LONGEST:
        # What is refused, in its own words.
        _native_later(timeout, repeat, file, exit, **more)
        return
    options = (repeat, file, exit)
    begun = _monotonic()
    _native_later(timeout + GRACE, *options, **more)
    fd = file if isinstance(file, int) else file.fileno()
    watchdog = _current = _Watchdog(begun, timeout, fd, options, more)
    watchdog.start()


def cancel_dump_traceback_later() -> None:
    """See `faulthandler.cancel_dump_traceback_later`.  Any thread."""
    _stop()
    _native_cancel()


def _stop() -> None:
    # At the interpreter's end the original one goes on: it says where that hangs.
    global _current
    watchdog, _current = _current, None
    if watchdog is not None:
        watchdog.stop()


def _forked() -> None:
    global _current
    _current = None


fork_hooks.append(_forked)
atexit.register(_stop)

#: By the name in `faulthandler`.
REPLACED: dict[str, Any] = {
    "dump_traceback_later": builtin_twin(faulthandler.dump_traceback_later, dump_traceback_later),
    "cancel_dump_traceback_later": builtin_twin(
        faulthandler.cancel_dump_traceback_later, cancel_dump_traceback_later
    ),
}
