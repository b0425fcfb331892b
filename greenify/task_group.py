"""TaskGroup: tasks that end before the block that started them does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent

from greenify import core
from greenify.core.entries import Throw
from greenify.core.registry import gone
from greenify.errors import HubError, TaskExit
from greenify.task import Task

if sys.version_info < (3, 11):
    try:
        from exceptiongroup import BaseExceptionGroup
    except ImportError as exc:
        raise ImportError(
            "on CPython 3.10 TaskGroup needs the package exceptiongroup: "
            "install it, or greenify[tasks], which names it"
        ) from exc

__all__ = ["TaskGroup"]

P = ParamSpec("P")
T = TypeVar("T")


class _Interrupt(TaskExit):
    """Raised in the body of a group whose child has failed; never leaves the group."""


class TaskGroup:
    """A context manager that waits for the tasks which were started in it::

        with TaskGroup() as group:
            for url in urls:
                group.spawn(fetch, url)

    The first task that fails makes the group kill the others and interrupt the block (`TaskExit` is raised
    where it waits).  When all of them have ended, the block raises an `ExceptionGroup` of every error, that
    of the block itself included, or a `BaseExceptionGroup` if one of them is no `Exception`.  (On CPython
    3.10 the classes are those of the package ``exceptiongroup``.)  A task that was killed has not failed.

    What cancels the block from outside (`TaskExit`, `Timeout`, KeyboardInterrupt: whatever is no `Exception`)
    kills the tasks, and leaves the block as it came when they have ended; their errors are then logged.

    The group is entered and left by one greenlet.  `spawn` and `cancel` may be called from any thread.
    """

    def __init__(self) -> None:
        self._children: set[Task[Any]] = set()
        self._failed: list[Task[Any]] = []
        self._owner: Any = None
        self._hub: core.Hub | None = None
        self._waiter: core.Waiter | None = None
        self._interrupt: _Interrupt | None = None
        self._state = "not entered"  # then: open, joining, closed
        self._cancelled = False

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled and self._state != "closed" else self._state
        return f"<TaskGroup {state}, {len(self._children)} tasks at {id(self):#x}>"

    def spawn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Start ``function(*args, **kwargs)`` as a task of this group, on the caller's hub, and return it.

        Any thread may call it, also the group's own tasks while the block waits for its end.

        Raises:
            HubError: the group has not been entered, was cancelled or has ended.
        """
        made: Task[T] = Task(function, args=args, kwargs=kwargs)
        self._start(made, sys._getframe(1).f_lineno, sys._getframe(1).f_code.co_filename)
        return made

    def start(self, task: Task[Any]) -> None:
        """Start `task`, which has not been started yet, as one of this group.  See `spawn`."""
        self._start(task, sys._getframe(1).f_lineno, sys._getframe(1).f_code.co_filename)

    def _start(self, task: Task[Any], line: int, filename: str) -> None:
        if self._state not in ("open", "joining") or self._cancelled:
            raise HubError(
                f"{self!r} takes no task now: start tasks in its block, before it is cancelled"
            )
        task.start()
        task._origin = f"{filename}:{line}"
        task._observer = self._ended
        self._children.add(task)
        if self._cancelled:
            task.kill()  # cancelled meanwhile by another OS thread

    def cancel(self) -> None:
        """Kill the tasks of the group and interrupt its block, which then ends without an error.

        Any thread may call it.  It returns at once; the end of the block waits for the tasks.
        """
        if self._state == "closed" or self._cancelled:
            return
        self._cancelled = True
        for child in tuple(self._children):
            if child._greenlet is not getcurrent():
                child.kill()
        if self._state == "open" and self._hub is not None:
            self._interrupt = _Interrupt()
            if self._owner is getcurrent():
                return  # it goes on to the end of the block by itself
            throw = Throw(self._owner, self._interrupt, self)
            if self._hub.foreign():
                self._hub.call_from_thread(self._hub.ready.append, throw)
            else:
                self._hub.ready.append(throw)

    def wanted(self) -> bool:
        """Whether the interruption of the block, on its way, shall still arrive."""
        return self._state == "open"

    def _ended(self, child: Task[Any]) -> None:
        error = child.exception
        if error is not None and not isinstance(error, TaskExit | GreenletExit):
            self._failed.append(child)
            self.cancel()
        # After the list of errors is complete: the owner may be running on another OS thread.
        self._children.discard(child)
        waiter = self._waiter
        if waiter is not None and not self._children:
            waiter.wake()

    def __enter__(self) -> TaskGroup:
        if self._state != "not entered":
            raise HubError(f"{self!r} has been entered already: make another")
        self._owner = getcurrent()
        self._hub = core.get_hub()
        self._state = "open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        self._state = "joining"
        if value is not None:
            self.cancel()
        # A raw greenlet that is being collected must not wait: nobody will ever run it again.
        collected = isinstance(value, GreenletExit) and not hasattr(getcurrent(), "hub")
        interrupted = None if collected else self._join()
        self._state = "closed"
        failed, self._failed = self._failed, []
        self._owner = None
        mine = value is not None and value is self._interrupt
        self._interrupt = None
        try:
            if value is not None and not mine and not isinstance(value, Exception):
                interrupted = None
                self._report(failed)
                return False
            if interrupted is not None:
                self._report(failed)
                raise interrupted
            errors = [] if value is None or mine else [value]
            errors += [child.exception for child in failed if child.exception is not None]
            if errors:
                raise BaseExceptionGroup("errors in a TaskGroup", errors) from None
            return mine
        finally:
            # Their tracebacks hold this frame.
            del failed, value, interrupted
            errors = []

    def _join(self) -> BaseException | None:
        """Wait for every child, whatever happens meanwhile; what interrupted the wait first."""
        interrupted: BaseException | None = None
        while True:
            waiter = self._waiter = core.new_waiter()
            for child in tuple(self._children):
                g = child._greenlet
                if g is None or g.hub.abandoned:
                    self._children.discard(child)  # left behind by a fork
            if not self._children:
                return interrupted
            try:
                waiter.wait()
            except BaseException as exc:
                self.cancel()
                if gone(exc):
                    raise
                interrupted = interrupted or exc

    @staticmethod
    def _report(failed: list[Task[Any]]) -> None:
        for child in failed:
            if child.exception is not None:
                child._report(child.exception)
