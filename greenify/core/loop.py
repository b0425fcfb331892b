"""The libuv loop: the one file that imports pyuv.

Everything else in greenify sees a `Loop`, which sleeps in libuv until a descriptor set has news or a
deadline has come.  Two facts about pyuv 1.4.0 shape it:

* libuv aborts the process when a descriptor that it polls is closed or reused behind its back.  So libuv
  polls exactly one descriptor of ours: the hub's own edge-triggered kernel queue (`descriptor_set.py`),
  which the kernel nests, and which raises exceptions where libuv would abort.
* Python code called from inside ``uv_run`` could re-enter it (a garbage collection there may run any
  ``__del__``).  So the callbacks given to libuv are C callables that do nothing, and the hub looks at
  the kernel queue and the clock after ``run`` has returned.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from types import TracebackType
from typing import Any, Protocol

from greenify.core.clock import monotonic as _monotonic
from greenify.errors import PyuvMissingError

__all__ = ["Loop", "Owner", "pyuv", "pyuv_origin", "pyuv_version", "libuv_version"]


def _usable(module: Any) -> bool:
    version = tuple(int(part) for part in module.__version__.split(".")[:2] if part.isdigit())
    return version >= (1, 4)


def _load() -> tuple[Any, str]:
    """Choose the pyuv to use: the user's own (>= 1.4, working), else the bundled build.

    ``GREENIFY_PYUV=bundled`` or ``GREENIFY_PYUV=system`` forces one of the two.
    """
    wanted = os.environ.get("GREENIFY_PYUV", "")
    if wanted not in ("", "bundled", "system"):
        raise PyuvMissingError(
            f"GREENIFY_PYUV={wanted!r}: the valid values are 'bundled' and 'system'"
        )
    reasons = []
    if wanted != "bundled":
        try:
            import pyuv as system

            if _usable(system):
                return system, "system"
            reasons.append(f"the installed pyuv is {system.__version__}, older than 1.4")
        except (ImportError, AttributeError) as exc:
            # AttributeError: a half-installed package without __version__.
            reasons.append(f"no installed pyuv ({exc})")
    if wanted != "system":
        try:
            from greenify._vendor import pyuv as bundled

            return bundled, "bundled"
        except ImportError as exc:
            reasons.append(f"no bundled pyuv ({exc})")
    raise PyuvMissingError(
        "greenify needs pyuv >= 1.4 and found none: "
        + "; ".join(reasons)
        + ". Reinstall greenify with 'pip install --force-reinstall greenify', which builds its own copy"
        + (", or unset GREENIFY_PYUV." if wanted else ".")
    )


pyuv: Any
pyuv, pyuv_origin = _load()
pyuv_version: str = pyuv.__version__
libuv_version: str = pyuv.LIBUV_VERSION

_RUN_ONCE = pyuv.UV_RUN_ONCE
_RUN_NOWAIT = pyuv.UV_RUN_NOWAIT

# libuv timers have a resolution of one millisecond (uv_timer_start, libuv documentation).
_TICK = 0.001

_close = os.close
_dup2 = os.dup2
_make_queue: Any = getattr(select, "epoll", None)


# The longest sleep that is asked of libuv, in seconds: it counts milliseconds in an int.
_LONGEST = 1e6

# How many descriptors libuv opens for a loop: two for the first one, then a kernel queue, a pipe, an event.
_DESCRIPTORS = 6


class _Report:
    """What pyuv calls when a callback of a stream has raised: it would print and swallow the error.

    An error of the callback's own is logged.  KeyboardInterrupt and SystemExit, with which pyuv would end the
    process on the spot, and what a signal handler has raised before the first line of the callback, are kept
    for the caller of `Loop.sleep` or `Loop.turn`.
    """

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: deque[BaseException] = deque()

    def __call__(
        self, kind: type[BaseException], value: BaseException, tb: TracebackType | None
    ) -> None:
        while tb is not None and tb.tb_lineno == tb.tb_frame.f_code.co_firstlineno:
            self.kept.append(value.with_traceback(tb))
            # libuv reports what it reports once, and the callback, a method, has not seen it yet.
            frame = tb.tb_frame
            code = frame.f_code
            owner, *args = (frame.f_locals[name] for name in code.co_varnames[: code.co_argcount])
            try:
                getattr(owner, code.co_name)(*args)
                return
            except BaseException as exc:
                value, tb = exc, exc.__traceback__
                # Without this frame.
                tb = tb and tb.tb_next
        if isinstance(value, Exception):
            import logging

            logger = logging.getLogger("greenify")
            logger.error("error in a libuv callback", exc_info=(type(value), value, tb))
        else:
            self.kept.append(value.with_traceback(tb))


class Owner(Protocol):
    """Who has a handle in a loop."""

    def lost(self) -> None:
        """The loop is being closed, or the process was forked: the handle is gone.  Must not touch it."""


def _free_descriptors() -> list[int]:
    """The numbers that libuv is going to use for a loop.

    Raises:
        OSError: EMFILE, there are not enough: libuv would abort the process.
    """
    opened: list[int] = []
    try:
        while len(opened) < _DESCRIPTORS:
            opened += os.pipe()
    finally:
        for fd in opened:
            _close(fd)
    return opened


def _is_of_libuv(fd: int) -> bool:
    """Whether `fd` is open and a pipe, an event or a kernel queue (the last two have no type)."""
    try:
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
    except OSError:
        return False
    return kind in (0, stat.S_IFIFO)


class Loop:
    """One libuv loop, belonging to one OS thread.  Nothing here may be called from another thread."""

    __slots__ = ("_armed", "_async", "_polls", "_report", "_timer", "fds", "pinned", "uv")

    def __init__(self) -> None:
        numbers = _free_descriptors()
        self.uv: Any = pyuv.Loop()
        #: The descriptors of the loop.
        self.fds = {self.uv.fileno(), *filter(_is_of_libuv, numbers)}
        self.uv.excepthook = self._report = _Report()
        self._timer = pyuv.Timer(self.uv)
        self._armed: float | None = None
        # callable(handle) is a C callable without effect.
        self._async = pyuv.Async(self.uv, callable)
        self._polls: dict[int, Any] = {}
        #: The open handles of others.  One that is collected before it is closed may crash the process.
        self.pinned: dict[Any, Owner] = {}

    def watch(self, fd: int) -> None:
        """Wake `sleep` whenever `fd`, a kernel queue that nobody else ever closes, is readable."""
        poll = self._polls[fd] = pyuv.Poll(self.uv, fd)
        # slice(handle, events, error) is a C callable with three arguments and no effect.
        poll.start(pyuv.UV_READABLE, slice)
        # An active handle refers to itself, so that neither it nor what it refers to is ever collected, not
        # even when the interpreter is finalised.
        poll.pinned = self.pinned

    def unwatch(self, fd: int) -> None:
        """Undo `watch`, before `fd` is closed."""
        poll = self._polls.pop(fd)
        if self.uv is not None:
            poll.close()

    def wake(self) -> None:
        """End `sleep`.  Any OS thread; for good after `close`, when nobody sleeps."""
        # Unlike a write to a pipe, this keeps the interpreter lock: the waker goes on for its time slice.
        try:
            self._async.send()
        except pyuv.error.HandleClosedError:
            return

    def sleep(self, deadline: float | None) -> None:
        """Block in libuv until the watched descriptor is readable or `deadline` has passed.

        Args:
            deadline: a `time.monotonic` time in seconds, or None for no limit.
        """
        if deadline != self._armed:
            self._arm(deadline)
        self.uv.run(_RUN_ONCE)
        if self._report.kept:
            raise self._report.kept.popleft()

    def fileno(self) -> int:
        """libuv's kernel queue, readable when `sleep` would find something but its deadline."""
        fd: int = self.uv.fileno()
        return fd

    def turn(self) -> None:
        """Run the libuv handles of other users (streams) that are due, without blocking."""
        self.uv.run(_RUN_NOWAIT)
        if self._report.kept:
            raise self._report.kept.popleft()

    def _arm(self, deadline: float | None) -> None:
        timer = self._timer
        self._armed = deadline
        if deadline is None:
            timer.stop()
            return
        # libuv compares whole milliseconds and truncates its clock.  Measured against that clock and
        # rounded up, the timer never fires early and at most one millisecond late.
        uv = self.uv
        uv.update_time()
        ticks = -int(-min(deadline, _monotonic() + _LONGEST) * 1000.0 // 1) - uv.now()
        # When the timer is already due, uv_run fires it before polling, and would then poll without a
        # limit; the repeat of one tick bounds that poll.
        timer.start(callable, max(ticks, 1) * _TICK + _TICK / 10, _TICK)

    def close(self) -> None:
        """Close every handle and release the loop's descriptors."""
        uv = self.uv
        for owner in list(self.pinned.values()):
            owner.lost()
        for handle in list(uv.handles):
            if not handle.closed:
                handle.close()
        uv.run(_RUN_NOWAIT)
        uv.run(_RUN_NOWAIT)
        self.pinned.clear()
        # With the last reference go its descriptors.
        self.uv = self._timer = None
        self._polls.clear()

    def forked(self, inside: bool) -> None:
        """In a child after a fork: release the descriptors, and leave the parent's kernel queue alone.

        Args:
            inside: libuv is on the caller's stack.  Then, and if others have handles here that are not
                pinned and so not ours to close, everything but the kernel queue stays open.
        """
        uv = self.uv
        for owner in list(self.pinned.values()):
            owner.lost()
        fd = uv.fileno()
        if _make_queue is not None:
            # Closing handles removes registrations: from an empty queue, not from the one that is shared.
            # A kqueue is not inherited.
            empty = _make_queue()
            _dup2(empty.fileno(), fd, inheritable=False)
            empty.close()
        known = {self._timer, self._async, *self._polls.values(), *self.pinned}
        if not inside and all(handle in known or handle.closed for handle in uv.handles):
            self.close()
