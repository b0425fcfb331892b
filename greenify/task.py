"""Tasks: functions that run concurrently on the hub of one OS thread."""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from greenify import core
from greenify.core.entries import Throw
from greenify.core.tracebacks import hide_wait, skip_frames
from greenify.errors import HubError, TaskExit
from greenify.event import Event
from greenify.identity import on_task_end
from greenify.local import forget_thread

__all__ = ["Task", "current", "report_lost", "sleep", "spawn", "task"]

P = ParamSpec("P")
T = TypeVar("T")

_numbers = count(1)

sleep = core.sleep


class _TaskGreenlet(greenlet):
    """The greenlet of a task: a thread in the sense of `greenify.identity`."""

    # The first three are for a trace, and for who asks from outside (`inspect.since`).
    __slots__ = (
        "greenify_track", "greenify_waits", "greenify_woken", "hub", "ident", "locals", "native_id",
        "task",
    )  # fmt: skip

    def __init__(self, hub: core.Hub, owner: Task[Any]) -> None:
        greenlet.__init__(self, None, hub.greenlet)
        self.hub = hub
        self.ident = id(self)
        self.native_id = 0
        self.locals: Any = None
        self.task: Task[Any] | None = owner

    def __repr__(self) -> str:
        return super().__repr__() if self.task is None else repr(self.task)

    def run(self) -> None:
        owner = self.task
        assert owner is not None
        try:
            try:
                owner._run_to_end()
            finally:
                forget_thread(self)
                for function in on_task_end:
                    function(self.ident)
        except (TaskExit, GreenletExit):
            pass  # killed once more while it was ending
        except BaseException:
            # Anything that left the greenlet would hit the hub.
            report_lost(owner)
        finally:
            self.hub.finished(self)
            owner._done.set()
            observer, owner._observer = owner._observer, None
            # Whoever has switched to this greenlet keeps it until it goes on itself, but not what we leave.
            self.task = None
            if observer is not None:
                observer(owner)


class Task(Generic[T]):
    """A function that runs concurrently, in the shape of `threading.Thread`.

    Args:
        target: what `run` calls.
        name: for messages; ``Task-N`` by default.
        args: positional arguments of `target`.
        kwargs: keyword arguments of `target`.

    A subclass may override `run` instead.  An error that nobody has caught ends the task, is kept in
    `exception`, and is reported once to the ``greenify`` logger, with the place where the task was started.

    A task belongs to the hub of the OS thread that starts it.  It runs until it waits; one that computes for
    long calls ``sleep(0)`` now and then, for only green threads of a patched process have time slices.  The
    end of the program does not wait for tasks: `join` them, or start them in a `TaskGroup`.

    Attributes:
        name: the name for messages, which may be changed.
    """

    def __init__(
        self,
        target: Callable[..., T] | None = None,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self._target = target
        self._args = args
        self._kwargs = kwargs or {}
        self.name = name if name is not None else f"Task-{next(_numbers)}"
        self._greenlet: _TaskGreenlet | None = None
        self._done = Event()
        self._origin = ""
        # Called with the task at its end; it then is the one that reports an error (`TaskGroup`).
        self._observer: Callable[[Task[Any]], None] | None = None
        self._to_raise: BaseException | None = None
        self._thrown: tuple[BaseException, ...] = ()
        self._result: T | None = None
        self._exception: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self._state()}>"

    def _state(self) -> str:
        if self._greenlet is None:
            return "not started"
        if not self._done.is_set():
            return "running"
        return "finished" if self._exception is None else f"failed: {self._exception!r}"

    def start(self) -> None:
        """Make the task ready to run on this OS thread's hub; it begins when the caller next waits.

        Any thread may call it, once.

        Raises:
            HubError: it has been started already.
        """
        if self._greenlet is not None:
            raise HubError(f"{self!r} has been started already: a task runs once, make another")
        caller = sys._getframe(1)
        self._origin = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        hub = core.get_hub()
        self._greenlet = _TaskGreenlet(hub, self)
        hub.start(self._greenlet)

    def run(self) -> T | None:
        """What the task does; calls `target` unless a subclass overrides it."""
        if self._target is None:
            return None
        return self._target(*self._args, **self._kwargs)

    def _run_to_end(self) -> None:
        try:
            if self._to_raise is not None:
                raise self._to_raise  # killed before it began
            self._result = self.run()
        except (TaskExit, GreenletExit) as exc:
            self._exception = exc
            self._tidy(exc)
        except BaseException as exc:
            self._exception = exc
            self._tidy(exc)
            if (
                self._observer is None
                and self._greenlet is not None
                and not self._greenlet.hub.abandoned
            ):
                self._report(exc)
        finally:
            # The arguments may be large, and the task object may outlive its work.
            self._target = None
            self._args = ()
            self._kwargs = {}
            self._thrown = ()

    def _tidy(self, exc: BaseException) -> None:
        """Leave our own frames out of the traceback of what has ended the task."""
        skip_frames(exc, __file__)
        if any(exc is thrown for thrown in self._thrown):
            hide_wait(exc)

    def _report(self, exc: BaseException) -> None:
        text = "".join(traceback.format_exception(exc))
        logging.getLogger("greenify").error(
            "%s, started at %s, has failed:\n%s", self.name, self._origin, text
        )

    @property
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._greenlet is not None and not self._done.is_set()

    @property
    def exception(self) -> BaseException | None:
        """What ended the task, if it was an exception; `TaskExit` after `kill`."""
        return self._exception

    @property
    def result(self) -> T | None:
        """What `run` returned.  Any thread may ask.

        Raises:
            HubError: the task has not ended; `join` it first.
            BaseException: what ended it.
        """
        if not self._done.is_set():
            raise HubError(f"{self!r} has no result yet: join it first")
        if self._exception is not None:
            raise self._exception
        return self._result

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended.  Any thread may call it; an error of the task is not raised here.

        Args:
            timeout: seconds to wait at most, None for no limit.

        Returns:
            Whether it has ended.

        Raises:
            HubError: it has not been started, or it is the calling task itself.
        """
        if self._greenlet is None:
            raise HubError(f"{self!r} cannot be joined before it is started")
        if self._greenlet is getcurrent():
            raise HubError(f"{self!r} cannot join itself")
        return self._done.wait(timeout)

    def kill(self, exc: BaseException | type[BaseException] = TaskExit) -> None:
        """Have `exc` raised in the task, where it waits.  Returns at once; `join` waits for the end.

        Any thread may call it.  A task that has ended is left alone; one that has not begun to run never
        calls its function.  A task that computes gets `exc` when it waits next; one that is in a call on a
        native thread stops waiting for it.

        Args:
            exc: an exception or a class of one.  `TaskExit` ends the task quietly; another one that the task
                does not catch is its error.

        Raises:
            HubError: the task has not been started.
            BaseException: `exc`, if the task kills itself.
        """
        g = self._greenlet
        error = exc() if isinstance(exc, type) else exc
        if g is None:
            raise HubError(f"{self!r} cannot be killed before it is started")
        if self._done.is_set():
            return
        if g is getcurrent():
            raise error
        hub = g.hub
        if hub.foreign():
            hub.call_from_thread(self._throw, error)
        else:
            self._throw(error)

    def _throw(self, error: BaseException) -> None:
        g = self._greenlet
        if g is None or g.dead:
            return
        if not g:
            self._to_raise = error  # it has not begun: it will find this when it does
        else:
            self._thrown += (error,)
            g.hub.ready.append(Throw(g, error))


def report_lost(where: object) -> None:
    """Print the current exception, which `where` cannot raise and the log has not taken.  Never raises."""
    try:
        print(f"error at the end of {where!r}:", file=sys.stderr)
        traceback.print_exc()
    except Exception:
        return  # the standard error is broken as well: nobody is left to tell


def current() -> Task[Any] | None:
    """The task that is running, or None outside of tasks (in the main greenlet, in a patched thread).

    Any thread may call it.
    """
    g: Any = getcurrent()
    while g is not None:
        if isinstance(g, _TaskGreenlet):
            return g.task
        g = g.parent
    return None


def spawn(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
    """Start ``function(*args, **kwargs)`` as a task of this OS thread's hub and return the task.

    It begins when the caller next waits.  Any thread may call it; one that has no hub yet gets one.  See
    `Task` for what becomes of its result and its errors.
    """
    made: Task[T] = Task(function, args=args, kwargs=kwargs)
    made.start()
    caller = sys._getframe(1)
    made._origin = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    return made


def task(function: Callable[P, T]) -> Callable[P, Task[T]]:
    """Decorator: calling `function` starts it as a task and returns the task, as `spawn` does."""

    @functools.wraps(function)
    def start(*args: P.args, **kwargs: P.kwargs) -> Task[T]:
        return spawn(function, *args, **kwargs)

    return start
