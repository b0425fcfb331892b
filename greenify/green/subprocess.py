"""The cooperative twin of `subprocess`: what `Popen` does in the kernel, its pipes and its waiting.

`Popen` here is a subclass of the standard one that can be used with nothing patched; a patch puts the same
methods into the standard class itself.  Starting a child stays native: with vfork it takes no longer than
the kernel's exec.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import Any, cast

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.green._copies.rest import complete
from greenify.green._files.descriptor_io import kind_of, write_some
from greenify.green._files.fileobject import cooperative
from greenify.green._processes.children import wait_for_end, wait_on_pidfd

__all__ = ["Popen"]

_read = os.read
_execute_child_natively: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]

# Where `Popen._execute_child` gets the parent's ends of the pipes, in every version from 3.10 to 3.15.
_PARENT_ENDS = (("stdin", 11), ("stdout", 12), ("stderr", 14))

# As much as a pipe holds.
_CHUNK = 1 << 16


def _execute_child(self: Any, *args: Any) -> None:
    """Make the pipes' file objects cooperative before the child starts, while failing is still simple."""
    arguments = list(args)
    for name, position in _PARENT_ENDS:
        stream = getattr(self, name)
        if arguments[position] != -1 and stream is not None:
            stream = cooperative(stream)
            setattr(self, name, stream)
            arguments[position] = stream.fileno()
    _execute_child_natively(self, *arguments)


# From then on the standard method waits on a pidfd if there is a time-out, which it gives to poll.
_WITH_PIDFD = sys.version_info >= (3, 15)


def _wait(self: Any, timeout: float | None) -> int:
    """Wait for the child's end on a pidfd; whoever wakes first reaps, holding the lock."""
    deadline = None if timeout is None else _monotonic() + timeout
    if _WITH_PIDFD and timeout is not None and self.returncode is None:
        if timeout != timeout:
            raise ValueError("Invalid value NaN (not a number)")
        self._wait_pidfd(timeout)
    elif deadline != deadline:
        deadline = None  # it asks in turns, of which none is the last one
    while self.returncode is None:
        if self._waitpid_lock.acquire(False):
            try:
                if self.returncode is not None:
                    break  # another thread has reaped it
                pid, status = self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)
                    break
            finally:
                self._waitpid_lock.release()
        if not wait_for_end(self.pid, deadline):
            raise subprocess.TimeoutExpired(self.args, cast(float, timeout))
    return cast(int, self.returncode)


def _wait_pidfd(self: Any, timeout: float) -> bool:
    """Wait for the child's end as `_wait` of CPython 3.15 begins: False if the program gets no pidfd."""
    try:
        fd = os.pidfd_open(self.pid, 0)
    except OSError:
        return False
    if not wait_on_pidfd(fd, _monotonic() + timeout):
        raise subprocess.TimeoutExpired(self.args, timeout)
    return True


def _communicate(
    self: Any, input: Any, endtime: float | None, orig_timeout: float | None
) -> tuple[Any, Any]:
    """Feed the child and collect its output until it has closed every pipe and ended.

    What was sent and received when the time-out hits is kept in the attributes that the standard method
    keeps it in, so that a second call goes on from there.
    """
    if self.stdin and not self._communication_started:
        try:
            _ignoring_broken_pipe(self.stdin.flush)
        except ValueError:
            # Closed by the caller: no error from CPython 3.14 on.
            if sys.version_info < (3, 14) or not self.stdin.closed:
                raise
        if not input:
            _ignoring_broken_pipe(self.stdin.close)
    if not self._communication_started:
        self._fileobj2output = {stream: [] for stream in (self.stdout, self.stderr) if stream}
    received: dict[Any, list[bytes]] = self._fileobj2output
    stdout = received[self.stdout] if self.stdout else None
    stderr = received[self.stderr] if self.stderr else None
    self._save_input(input)

    with select.epoll() as pending:
        open_streams: dict[int, Any] = {}
        for stream in received:
            if not stream.closed:
                pending.register(stream.fileno(), select.EPOLLIN)
                open_streams[stream.fileno()] = stream
        if self.stdin and not self.stdin.closed and self._input:
            pending.register(self.stdin.fileno(), select.EPOLLOUT)
            open_streams[self.stdin.fileno()] = self.stdin
        if open_streams and endtime is not None and endtime != endtime:
            # As a selector does.
            raise ValueError("cannot convert float NaN to integer")
        while open_streams:
            ready = pending.poll(0)
            if not ready:
                arrived = core.wait(pending.fileno(), False, endtime)
                if not arrived:
                    self._check_timeout(endtime, orig_timeout, stdout, stderr, True)
            for fd, _ in ready:
                stream = open_streams[fd]
                if stream is self.stdin:
                    ended = _feed(self, fd)
                else:
                    data = _read(fd, _CHUNK)
                    received[stream].append(data)
                    ended = not data
                if ended:
                    pending.unregister(fd)
                    del open_streams[fd]
                    _ignoring_broken_pipe(stream.close)
            self._check_timeout(endtime, orig_timeout, stdout, stderr)

    try:
        self.wait(timeout=None if endtime is None else endtime - _monotonic())
    except subprocess.TimeoutExpired as exc:
        # Not what was left of it: so since CPython 3.14.
        exc.timeout = cast(float, orig_timeout)
        raise
    return _joined(self, self.stdout, stdout), _joined(self, self.stderr, stderr)


def _ignoring_broken_pipe(method: Any) -> None:
    try:
        method()
    except BrokenPipeError:
        # A child need not read what it is sent.
        pass


def _feed(self: Any, fd: int) -> bool:
    """Send more of the input; True when there is none left, or the child does not want it."""
    with memoryview(self._input) as whole:
        data = whole.cast("B")
        try:
            self._input_offset += write_some(fd, kind_of(fd), data[self._input_offset :])
        except BrokenPipeError:
            return True
        except BlockingIOError:
            return False
        return bool(self._input_offset >= len(data))


def _joined(self: Any, stream: Any, pieces: list[bytes] | None) -> Any:
    if pieces is None:
        return None
    data = b"".join(pieces)
    if self.text_mode:
        return self._translate_newlines(data, stream.encoding, stream.errors)
    return data


#: What a patch puts into `subprocess.Popen`.
METHODS: dict[str, Any] = {"_execute_child": _execute_child, "_wait": _wait}
if _WITH_PIDFD:
    METHODS["_wait_pidfd"] = _wait_pidfd
if hasattr(select, "epoll"):
    METHODS["_communicate"] = _communicate


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` that waits cooperatively; its pipes may be used by several threads at once."""


for _name, _method in METHODS.items():
    setattr(Popen, _name, _method)


# Its functions (run, check_output, ...) over the class above.
complete(globals(), subprocess)


def __getattr__(name: str) -> Any:
    return getattr(subprocess, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(subprocess)})
