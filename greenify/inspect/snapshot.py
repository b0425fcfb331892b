"""All threads, tasks and greenlets of this process at one moment, and what each waits for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from greenify.core import registry
from greenify.core.clock import monotonic as _monotonic
from greenify.green._threads import tracing
from greenify.inspect import leaves, natives
from greenify.inspect.coroutines import loops_of, running_task, tasks_of, wait_of_task
from greenify.inspect.frames import Place, place_of, stack_of, user_frame
from greenify.inspect.garbage import fewer_collections
from greenify.inspect.names import name_by_ident, name_of
from greenify.inspect.owners import add_holders, cycles
from greenify.inspect.record import Wait
from greenify.inspect.since import noted, since_of
from greenify.inspect.starts import start_of
from greenify.inspect.waits import waiting_in

__all__ = ["Row", "Snapshot", "snapshot"]

T = TypeVar("T")

# Smaller numbers are no times (`greenify.tracing.tracks`).
_MARKS = 1

# Not the green one's, also in a process that has been patched before.
_get_ident = registry._get_ident
_current_frames = tracing._current_frames


@dataclass(slots=True)
class Row:
    """One thread, task or greenlet.  Nobody changes it.

    Attributes:
        ident: its identifier, as `threading.get_ident` gives it there; that of an asyncio task is its id.
        name: what it is called.
        kind: ``main``, ``thread``, ``task``, ``native`` or ``asyncio task``.
        state: ``running``, ``ready`` or ``waiting``; ``new`` has been started and has not run yet.
        wait: what it waits for, or None.
        place: the user's line it is in, or None.
        stack: its lines, the innermost first, if they were asked for.
        os_thread: the identifier of the OS thread that it runs in.
        parent: the identifier of who has started it, if that is known.
        started: the line that has started it, if that is known.
        group: of a task in a `TaskGroup`, the identifier of who has opened that.
        since: the `time.monotonic` time since when it is ready, waits, or has been started and not run; or
            None: it is noted from `listen` on, or while a trace is on, and of what has begun before it is not
            known.  Who has been woken, has looked and waits on, waits since then.
    """

    ident: int
    name: str
    kind: str
    state: str
    wait: Wait | None = None
    place: Place | None = None
    stack: tuple[Place, ...] = ()
    os_thread: int = 0
    parent: int | None = None
    started: str | None = None
    group: int | None = None
    since: float | None = None

    @property
    def what(self) -> str:
        """What it waits for, or else where it is, in a line."""
        if self.wait is not None:
            return self.wait.text
        return "" if self.place is None else f"{self.place.short} ({self.place.function})"


@dataclass(frozen=True)
class Snapshot:
    """What `snapshot` has found.

    Attributes:
        pid: of the process.
        rows: one for each thread, task and greenlet; the main one first, the others in no order.
        deadlocks: the circles of rows each of which waits for what the next one holds, the last for what
            the first one holds.
        time: the `time.monotonic` time.
    """

    pid: int
    rows: tuple[Row, ...]
    deadlocks: tuple[tuple[Row, ...], ...] = ()
    time: float = field(default_factory=_monotonic)

    def count(self, state: str) -> int:
        """How many rows are in this state."""
        return sum(row.state == state for row in self.rows)


def copied(collect: Callable[[], Iterable[T]]) -> tuple[T, ...]:
    """What ``collect()`` has, though other threads change it meanwhile."""
    while True:
        try:
            return tuple(collect())
        except RuntimeError:
            continue  # it was changed in between


class _Looking:
    """One look at the process."""

    def __init__(self, stacks: bool) -> None:
        self.stacks = stacks
        self.rows: list[Row] = []
        # Of those that wait or run, by their rows' numbers: for what is found out afterwards.
        self.frames: list[FrameType | None] = []
        self.greenlets: list[greenlet | None] = []
        self.loops: dict[int, tuple[Any, int]] = {}
        # By OS thread.  Our own frames are no part of it.
        self.current: dict[int, FrameType] = dict(_current_frames())
        self.leaves = leaves.Leaves()
        self.asyncio = "asyncio" in sys.modules
        self.noted = noted()

    def add(self, row: Row, frame: FrameType | None, g: greenlet | None = None) -> None:
        if frame is not None and self.stacks:
            row = replace(row, stack=tuple(stack_of(frame)))
        self.rows.append(row)
        self.frames.append(frame)
        self.greenlets.append(g)

    def hub(self, hub: Any) -> None:
        ready = {id(item) for item in copied(lambda: hub.ready)}
        here = _get_ident() == hub.ident
        me = getcurrent() if here else None
        main_kind = "main" if hub.ident == registry._main_ident else "thread"
        for g in (hub.main, *copied(lambda: hub.tasks)):
            if g.dead:
                continue
            kind = main_kind if g is hub.main else "task" if hasattr(g, "task") else "thread"
            self.greenlet(hub, g, kind, ready, me)

    def greenlet(self, hub: Any, g: Any, kind: str, ready: set[int], me: greenlet | None) -> None:
        # Written out, for there are thousands of them: they are told within two tenths of a second.
        frame: FrameType | None = g.gr_frame
        wait: Wait | None = None
        user: FrameType | None = None
        waiter = g
        queued = False
        if frame is not None and g is not me:
            wait, user = waiting_in(frame)
            if wait is None:
                # It may have switched to a greenlet of its own, which waits.
                leaf = self.leaves.of(g)
                if leaf is not None:
                    inner = leaf.gr_frame
                    if inner is not None:
                        frame = inner
                        wait, user = waiting_in(inner)
                    waiter = leaf
            if self.asyncio:
                self.find_loops(frame, g)
            queued = id(waiter) in ready or id(g) in ready
            state = "ready" if queued or wait is None else "waiting"
        elif not g and g is not hub.main:
            state = "new"
        else:
            frame = self.current.get(hub.ident)
            state = "running"
            if frame is not None:
                if self.asyncio:
                    self.find_loops(frame, g)
                if g is me:
                    # Without the frames of this very look.
                    frame = user_frame(frame)
        if wait is not None:
            place = wait.place
        else:
            user = user_frame(frame)
            place = None if user is None else place_of(user)
        task = getattr(g, "task", None)
        start = start_of(g)
        parent: int | None = None
        started: str | None = None
        owner: int | None = None
        if start is not None:
            parent = start.ident
            if start.place is not None:
                started = f"{start.place[0]}:{start.place[1]}"
        if task is not None:
            started = task._origin
            owner = getattr(getattr(_group_of(task), "_owner", None), "ident", None)
            if start is None:
                parent = owner
        beginning: float | None = None
        if state != "running":
            if self.noted:
                beginning = since_of(waiter, frame, state, queued)
            if beginning is None:
                beginning = _by_track(g, state)
        ident = getattr(g, "ident", hub.ident)
        row = Row(
            ident,
            (task is None and name_by_ident(ident)) or name_of(g),
            kind,
            state,
            wait if state == "waiting" else None,
            place,
            (),
            hub.ident,
            parent,
            started,
            owner,
            beginning,
        )
        if self.stacks:
            self.add(row, frame, g)
        else:
            # What is inside of the user's line holds none of the user's locks.
            self.rows.append(row)
            self.frames.append(user)
            self.greenlets.append(g)

    def find_loops(self, frame: FrameType | None, g: Any) -> None:
        for loop in loops_of(frame):
            self.loops[id(loop)] = (loop, getattr(g, "ident", 0))

    def native_threads(self) -> None:
        known = {hub.ident for hub in copied(lambda: registry.hubs)}
        for ident, frame in self.current.items():
            if ident in known:
                continue
            user = user_frame(frame)
            mine = ident == _get_ident()
            if mine and user is None:
                continue  # greenify's own, which answers
            found = natives.look_at(ident, user if mine and user is not None else frame)
            if found is not None:
                kind = "main" if ident == registry._main_ident else "native"
                place = place_of(frame if user is None else user)
                state = "waiting" if found.wait is not None else "running"
                row = Row(ident, found.name, kind, state, found.wait, place, os_thread=ident)
                self.add(row, frame)
                if self.asyncio:
                    self.find_loops(frame, None)

    def coroutines(self) -> None:
        for loop, ident in tuple(self.loops.values()):
            running = running_task(loop)
            for task in sorted(tasks_of(loop), key=_task_age):
                wait, stack = wait_of_task(task, loop)
                state = "running" if task is running else "ready" if wait is None else "waiting"
                row = Row(
                    id(task),
                    task.get_name(),
                    "asyncio task",
                    state,
                    wait,
                    (wait.place if wait is not None else None) or (stack[0] if stack else None),
                    tuple(stack) if self.stacks else (),
                    parent=ident,
                )
                self.rows.append(row)
                self.frames.append(None)
                self.greenlets.append(None)


def _by_track(g: Any, state: str) -> float | None:
    """Since when a thread is in its state, by the track of a trace."""
    track = getattr(g, "greenify_track", None)
    if track is None:
        return None
    nanoseconds = track.since if state == "waiting" else track.queued if state == "ready" else 0
    return nanoseconds / 1e9 if nanoseconds > _MARKS else None


def _group_of(task: Any) -> Any:
    """The `TaskGroup` that a task is of."""
    return getattr(task._observer, "__self__", None) if task._observer is not None else None


def _task_age(task: Any) -> tuple[int, str]:
    name = task.get_name()
    number = name.rpartition("-")[2]
    return (int(number), name) if number.isdecimal() else (0, name)


def snapshot(*, stacks: bool = False) -> Snapshot:
    """Look at every thread, task and greenlet of this process.

    Any thread may call it; what it finds in other OS threads goes on meanwhile.  Nothing is stopped, nothing
    of the program's is called, and the program pays nothing before.

    Args:
        stacks: whether to note the whole stacks.
    """
    with fewer_collections():
        looking = _Looking(stacks)
        hubs = copied(lambda: registry.hubs)
        for hub in sorted(hubs, key=lambda hub: hub is not registry._home):
            looking.hub(hub)
        looking.native_threads()
        looking.coroutines()
        # The frame of this very function is among them: without this the collector would have to find it all.
        looking.current.clear()
        rows = looking.rows
        add_holders(rows, looking.frames, looking.greenlets)
        return Snapshot(os.getpid(), tuple(rows), tuple(cycles(rows, looking.greenlets)))
