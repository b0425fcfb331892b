"""Watching signals and child processes.

A signal watcher is a Python signal handler: the interpreter's C handler writes to the hub's pipe, which ends
the sleep at once, and the handler puts the watchers on the loop's queue.  There is no polling tick.

Children are watched through pidfds, which need no signal at all, so that SIGCHLD stays the user's.  Only what
a pidfd cannot tell takes a SIGCHLD handler: any child at all (pid 0), children that are stopped, and kernels
before 5.3.  Unlike libev we never reap a child that nobody watches.
"""

from __future__ import annotations

import os
import signal as _signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenify.green import signal as _green
from greenify.green._copies.builtin import builtin_twin
from greenify.integrations.gevent.names import READ
from greenify.integrations.gevent.watchers import watcher

if TYPE_CHECKING:
    from greenify.integrations.gevent.io import io
    from greenify.integrations.gevent.loop import loop as Loop

__all__ = ["Children", "child", "keep_wakeup_fd", "signal"]

_native_signal = _signal.signal
_native_getsignal = _signal.getsignal
_waitpid = os.waitpid
_close = os.close
_native_set_wakeup_fd = _signal.set_wakeup_fd
_set_wakeup_fd = builtin_twin(_native_set_wakeup_fd, _green.set_wakeup_fd)
_pidfd_open: Any = getattr(os, "pidfd_open", None)


def keep_wakeup_fd() -> None:
    """Have ``signal.set_wakeup_fd`` chain the user's descriptor behind the hub's instead of replacing that.

    Without the interpreter's byte in its pipe the hub would sleep through signals.
    """
    modules: tuple[Any, ...] = (_signal, sys.modules["_signal"])
    for module in modules:
        if module.set_wakeup_fd is _native_set_wakeup_fd:
            module.set_wakeup_fd = _set_wakeup_fd


class _Signals:
    """Whom to tell of which signal, in all loops of the process; installs and restores the handlers."""

    def __init__(self) -> None:
        self._watching: dict[int, list[Any]] = {}
        self._before: dict[int, Any] = {}

    def add(self, signum: int, what: Any) -> None:
        """Call ``what.arrived()`` for every signal of that number.

        Raises:
            ValueError: not in the main OS thread, the only one where Python can install a handler.
            OSError: EINVAL, a signal that cannot be caught.
        """
        watching = self._watching.get(signum)
        if watching is None:
            self._before[signum] = _native_signal(signum, self._handle)
            watching = self._watching[signum] = []
        elif _native_getsignal(signum) != self._handle:
            # The user has set another handler meanwhile; who comes last wins.
            self._before[signum] = _native_signal(signum, self._handle)
        if what not in watching:
            watching.append(what)

    def remove(self, signum: int, what: Any) -> None:
        """Undo `add`; with the last one the handler from before comes back."""
        watching = self._watching[signum]
        watching.remove(what)
        if not watching:
            self.restore(signum)

    def restore(self, signum: int) -> None:
        """Put back the handler from before ours, unless somebody has replaced ours."""
        self._watching.pop(signum, None)
        before = self._before.pop(signum, None)
        if _native_getsignal(signum) == self._handle:
            try:
                # None: a handler that was not installed from Python cannot be put back.
                _native_signal(signum, _signal.SIG_DFL if before is None else before)
            except ValueError:
                # Not the main thread (a loop that is collected there): it stays and finds nobody to tell.
                pass

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        for what in tuple(self._watching.get(signum, ())):
            what.arrived()
        before = self._before.get(signum)
        if signum == _signal.SIGCHLD and callable(before):
            # Watching children must not take the user's handler away.
            before(signum, frame)


_signals = _Signals()


class signal(watcher):
    """Happens when the process gets the signal.  Started in the main OS thread only, as Python demands.

    While one is active it replaces the handler that was installed before.
    """

    __slots__ = ("_signum",)

    def __init__(
        self, loop: Loop, signalnum: int, ref: bool = True, priority: int | None = None
    ) -> None:
        if signalnum < 1 or signalnum >= _signal.NSIG:
            raise ValueError(f"illegal signal number: {signalnum!r}")
        super().__init__(loop, ref, priority)
        self._signum = signalnum

    def _arm(self) -> None:
        super()._arm()
        _signals.add(self._signum, self)

    def _disarm(self) -> None:
        super()._disarm()
        _signals.remove(self._signum, self)

    def arrived(self) -> None:
        """For the signal handler."""
        self.loop._send(self)

    def _format(self) -> str:
        return f" signalnum={self._signum}"


class child(watcher):
    """Happens when a child process has ended, and with `trace` also when it is stopped or continued.

    The child is reaped; `rpid` and `rstatus` then say what ``waitpid`` has said.  Only the default loop has
    child watchers, as in libev.

    Args:
        pid: the child's; 0 for any.
    """

    __slots__ = ("_pid", "_rpid", "_rstatus", "_trace")

    def __init__(self, loop: Loop, pid: int, trace: int = 0, ref: bool = True) -> None:
        if not loop.default:
            raise TypeError("child watchers are only available on the default loop")
        super().__init__(loop, ref)
        loop.install_sigchld()
        self._pid = pid
        self._trace = bool(trace)
        self._rpid: int | None = None
        self._rstatus = 0

    def _arm(self) -> None:
        super()._arm()
        self.loop._children.add(self)

    def _disarm(self) -> None:
        super()._disarm()
        self.loop._children.discard(self)

    @property
    def pid(self) -> int:
        """The process that is watched; 0 for any."""
        return self._pid

    @property
    def rpid(self) -> int | None:
        """The process that has ended."""
        return self._rpid

    @rpid.setter
    def rpid(self, rpid: int) -> None:
        self._rpid = rpid

    @property
    def rstatus(self) -> int:
        """Its status as ``os.waitpid`` returns it."""
        return self._rstatus

    @rstatus.setter
    def rstatus(self, rstatus: int) -> None:
        self._rstatus = rstatus

    def _format(self) -> str:
        return f" pid={self._pid} rstatus={self._rstatus}"


class Children:
    """The watched child processes of one loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._watchers: list[child] = []
        self._pidfds: dict[int, tuple[int, io]] = {}
        self._hearing = False  # SIGCHLD is watched for us

    def add(self, what: child) -> None:
        """Watch the child of `what`."""
        self._watchers.append(what)
        pid = what._pid
        if not pid or what._trace or not self._open(pid):
            self._hear()
            # What ended before we could hear.
            self.arrived()

    def discard(self, what: child) -> None:
        """Stop watching for `what`."""
        if what in self._watchers:
            self._watchers.remove(what)
        pid = what._pid
        if pid in self._pidfds and all(other._pid != pid for other in self._watchers):
            self._close(pid)

    def _open(self, pid: int) -> bool:
        if pid in self._pidfds:
            return True
        if _pidfd_open is None:
            return False
        try:
            fd = _pidfd_open(pid)
        except OSError:
            # An old kernel, no descriptors left, or no such process.
            return False
        watching: Any = self._loop.io(fd, READ, ref=False)
        self._pidfds[pid] = (fd, watching)
        watching.start(self._ended, pid)
        return True

    def _close(self, pid: int) -> None:
        fd, watching = self._pidfds.pop(pid)
        watching.close()
        _close(fd)

    def _ended(self, pid: int) -> None:
        self._reap(pid, os.WNOHANG)
        if pid in self._pidfds:
            # Reported, or taken by somebody else: either way there is nothing more to come.
            self._close(pid)

    def _hear(self) -> None:
        if not self._hearing:
            self._hearing = True
            _signals.add(_signal.SIGCHLD, self)

    def install(self) -> None:
        """Make sure that children become zombies until they are reaped."""
        if _native_getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
            try:
                _native_signal(_signal.SIGCHLD, _signal.SIG_DFL)
            except ValueError:
                # Not the main thread.
                pass
        if self._hearing:
            # The user may have taken our handler away.
            _signals.add(_signal.SIGCHLD, self)

    def reset(self) -> None:
        """The user has set SIGCHLD to its default, or to be ignored: leave it so."""
        if self._hearing:
            self._hearing = False
            _signals.remove(_signal.SIGCHLD, self)

    def arrived(self) -> None:
        """For the signal handler: look for children that have ended, in the loop."""
        self._loop.run_callback_threadsafe(self._look)

    def _look(self) -> None:
        traced = {w._pid for w in self._watchers if w._trace}
        for pid in {w._pid for w in self._watchers if w._pid and w._pid not in self._pidfds}:
            options = os.WNOHANG
            if pid in traced:
                options |= os.WUNTRACED | os.WCONTINUED
            self._reap(pid, options)
        while any(not w._pid for w in self._watchers):
            if not self._reap(-1, os.WNOHANG):
                break

    def _reap(self, pid: int, options: int) -> bool:
        """Wait for a child without blocking and tell whom it concerns; False if there is none."""
        try:
            rpid, status = _waitpid(pid, options)
        except ChildProcessError:
            # Somebody else has reaped it, or the system has (SIG_IGN): its status is lost.  As in CPython's
            # subprocess it then counts as 0; a waiter must not hang.
            if pid == -1:
                return False
            rpid, status = pid, 0
        if not rpid:
            return False
        for what in tuple(self._watchers):
            if what._pid in (0, rpid):
                what.rpid = rpid
                what.rstatus = status
                self._loop._feed(what)
        return True

    def forked(self) -> None:
        """In a child process: the parent's children are not ours."""
        self._watchers.clear()
        for pid in tuple(self._pidfds):
            self._close(pid)
        self.reset()
