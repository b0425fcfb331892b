"""asyncio and tasks in one OS thread: run coroutines from tasks, and wait for tasks in coroutines.

    def report():  # a task, a green thread, or the main program
        with greenify.Timeout(10):
            return greenify.aio.run(fetch("https://example.org/"))

    async def handle():  # a coroutine
        return await greenify.aio.wait(greenify.spawn(work))

Each OS thread has one asyncio loop for this, in a task of its own, which is started when it is first needed.
It waits on the hub, so coroutines and tasks go on side by side, and any number of tasks run coroutines of the
one loop: they may share its locks, queues and client sessions.  All of it works with nothing patched, and
beside patched code.

A task that waits for a coroutine and is killed or timed out cancels it, and goes on when that has ended.  A
coroutine that waits for a task and is cancelled kills it, and goes on when that has ended.  Errors pass both
ways.

A coroutine that calls something which waits for the hub (`greenify.sleep`, a patched `time.sleep`) stops the
other coroutines meanwhile, as blocking calls always do with asyncio; tasks go on.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import selectors
import sys
from asyncio import events
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from greenlet import GreenletExit, getcurrent

from greenify import core, loop_access
from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.core.registry import before_close, gone
from greenify.errors import HubError, TaskExit
from greenify.event import Event
from greenify.running_loop import NOTHING_RUNS, loop_and_task
from greenify.task import Task

__all__ = ["EventLoop", "close", "get_loop", "run", "wait"]

T = TypeVar("T")

_Base: Any = selectors.DefaultSelector

# Looked up at each call: a patch replaces the second one.
_get, _put = loop_and_task(
    lambda: events._get_running_loop(), lambda loop: events._set_running_loop(loop)
)


class _Selector(_Base):  # type: ignore[misc]
    """A selector that parks the calling greenlet.  Outside of its loop, no loop is running."""

    def __init__(self) -> None:
        super().__init__()
        self.parked = False
        self.loop: EventLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        deadline = None if timeout is None else _monotonic() + timeout
        loop = self.loop
        inside = loop is not None and events._get_running_loop() is loop
        if inside and loop is not None:
            loop.leave()
        # From here on others run: what they ask of the loop has to end the wait.
        self.parked = True
        try:
            found: list[Any] = super().select(0)
            if found or (timeout is not None and timeout <= 0):
                core.get_hub().breathe()
            else:
                core.wait(self.fileno(), False, deadline)
        finally:
            self.parked = False
            if inside and loop is not None:
                loop.enter()
        return found or super().select(0)


class EventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that lets tasks and green threads run while it waits.

    `run` makes one by itself.  For a program whose main part is asyncio::

        asyncio.run(main(), loop_factory=greenify.aio.EventLoop)  # from CPython 3.12 on

    Other than asyncio's, its methods (`call_soon`, `create_task`, `Future.set_result`, ...) may be called
    from every greenlet of its OS thread.  Other OS threads use `call_soon_threadsafe`, as ever.
    """

    def __init__(self) -> None:
        self._green = _Selector()
        super().__init__(self._green)
        self._green.loop = self
        self._hub = core.get_hub()
        self._handled: set[int] = set()
        # What the rest of the OS thread has while the loop waits.
        self._outside: tuple[Any, Any] = (NOTHING_RUNS, sys.get_asyncgen_hooks())

    def leave(self) -> None:
        """The loop's greenlet gives way: put back what asyncio keeps per OS thread."""
        running, hooks = self._outside
        self._outside = (NOTHING_RUNS, sys.get_asyncgen_hooks())
        _put(running)
        sys.set_asyncgen_hooks(*hooks)

    def enter(self) -> None:
        """The loop's greenlet goes on; see `leave`."""
        hooks = self._outside[1]
        self._outside = (_get(), sys.get_asyncgen_hooks())
        _put((self, None))
        sys.set_asyncgen_hooks(*hooks)

    def run_forever(self) -> None:
        """Run until `stop` is called; see `asyncio.loop.run_forever`."""
        self._outside = (_get(), sys.get_asyncgen_hooks())
        _put(NOTHING_RUNS)
        try:
            super().run_forever()
        finally:
            _put(self._outside[0])

    def _wake(self) -> None:
        if self._green.parked:
            self._green.parked = False
            write: Callable[[], None] = self._write_to_self  # type: ignore[attr-defined]
            write()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """See `asyncio.loop.call_soon`.  Any greenlet of the loop's OS thread."""
        handle = super().call_soon(callback, *args, context=context)
        self._wake()
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """See `asyncio.loop.call_at`.  Any greenlet of the loop's OS thread."""
        handle = super().call_at(when, callback, *args, context=context)
        self._wake()
        return handle

    def _check_thread(self) -> None:
        # In asyncio's debug mode.  Greenlets of the patched `threading` have identifiers of their own.
        if core.current_hub() is not self._hub:
            raise RuntimeError(
                "another OS thread than the event loop's has to use call_soon_threadsafe"
            )

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """See `asyncio.loop.add_signal_handler`."""
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        loop_access.add_signal_handler(sig, self.call_soon, callback, *args)
        self._handled.add(sig)

    def remove_signal_handler(self, sig: int) -> bool:
        """See `asyncio.loop.remove_signal_handler`."""
        if sig not in self._handled:
            return False
        self._handled.discard(sig)
        return loop_access.remove_signal_handler(sig)

    def close(self) -> None:
        """See `asyncio.loop.close`."""
        for sig in tuple(self._handled):
            self.remove_signal_handler(sig)
        super().close()


class _Server(Task[None]):
    """The task in which the loop of a hub runs."""

    def __init__(self) -> None:
        super().__init__(name="asyncio loop")
        self.loop = EventLoop()
        self.ending = False

    def run(self) -> None:
        try:
            while not self.ending:
                try:
                    self.loop.run_forever()
                except (TaskExit, GreenletExit):
                    raise
                except BaseException:
                    # SystemExit and KeyboardInterrupt of a coroutine: asyncio gives them to whoever waits for
                    # it, and lets them through here as well.
                    logging.getLogger("greenify").exception("a coroutine has hit the asyncio loop")
            self._cancel_all()
        finally:
            self.loop.close()

    def _cancel_all(self) -> None:
        loop = self.loop
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(_ended(pending))
        loop.run_until_complete(loop.shutdown_asyncgens())


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            _report(task, "a coroutine has failed when it was cancelled")


def _report(future: asyncio.Future[Any], message: str) -> None:
    future.get_loop().call_exception_handler(
        {"message": message, "exception": future.exception(), "future": future}
    )


_servers: WeakKeyDictionary[core.Hub, _Server] = WeakKeyDictionary()
_lost: list[_Server] = []


def _server() -> _Server:
    hub = core.get_hub()
    server = _servers.get(hub)
    if server is None or not server.alive:
        server = _servers[hub] = _Server()
        server.start()
    return server


def get_loop() -> EventLoop:
    """The asyncio loop of this OS thread's hub, started now if need be."""
    return _server().loop


def run(awaitable: Awaitable[T]) -> T:
    """Run a coroutine on this OS thread's asyncio loop and wait for its end; the other tasks go on.

    It runs in an `asyncio.Task`, with a copy of the caller's context variables.  If the caller is interrupted
    (`Task.kill`, `Timeout`, KeyboardInterrupt), the coroutine is cancelled, and when it has ended the caller
    gets what has interrupted it.  Any greenlet but the loop's own may call it.

    Args:
        awaitable: a coroutine, or anything that can be awaited; a future has to be of this very loop.

    Returns:
        What the coroutine returns.  What it raises is raised here; `asyncio.CancelledError` if it was
        cancelled.

    Raises:
        HubError: it is called by a coroutine of that loop, which has to ``await`` instead.
    """
    server = _server()
    g: Any = getcurrent()
    while g is not None:
        if g is server._greenlet:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise HubError("run() was called by a coroutine of the same loop: await it there")
        g = g.parent
    if not asyncio.isfuture(awaitable) and not asyncio.iscoroutine(awaitable):
        awaitable = _await(awaitable)
    future: asyncio.Future[T] = asyncio.ensure_future(awaitable, loop=server.loop)
    return _join(future)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _join(future: asyncio.Future[T]) -> T:
    done = Event()
    future.add_done_callback(lambda _: done.set())
    interrupted: BaseException | None = None
    while not done.is_set():
        try:
            done.wait()
        except BaseException as exc:
            future.cancel()
            if gone(exc):
                raise
            interrupted = interrupted or exc
    if interrupted is None:
        try:
            return future.result()
        finally:
            del future  # the traceback holds this frame
    try:
        if not future.cancelled() and future.exception() is not None:
            _report(future, "a coroutine has failed when it was cancelled")
        raise interrupted
    finally:
        interrupted = None


class _Ending:
    """Waits for the end of a task in place of a greenlet."""

    __slots__ = ("_future", "_loop", "woken")

    alive = True

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
        self._loop = loop
        self._future = future
        self.woken = False

    def wake(self) -> None:
        """Called at the end of the task, in whatever OS thread that runs."""
        self.woken = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


async def _end_of(task: Task[Any]) -> None:
    loop = asyncio.get_running_loop()
    ending: Any = _Ending(loop, loop.create_future())
    waiters = task._done._waiters
    waiters.append(ending)
    try:
        # An end that came before we queued has woken nobody.
        if not task._done.is_set():
            await ending._future
    finally:
        if not ending.woken and ending in waiters:
            waiters.remove(ending)


async def wait(task: Task[T]) -> T | None:
    """In a coroutine: wait for the end of a task; the other coroutines go on.

    If the coroutine is cancelled, the task is killed, and the coroutine goes on when that has ended.  For a
    task that shall live on: ``await asyncio.shield(greenify.aio.wait(task))``.

    It works in every asyncio loop that does not block the hub: those of `run` and `EventLoop`, and all of
    them in a patched process.  The task may run in another OS thread.

    Args:
        task: it has been started.

    Returns:
        What the task has returned.  What it has raised is raised here: `asyncio.CancelledError` if it was
        killed.

    Raises:
        HubError: the task has not been started.
    """
    if task._greenlet is None:
        raise HubError(f"{task!r} cannot be waited for before it is started")
    cancelled: asyncio.CancelledError | None = None
    while not task._done.is_set():
        try:
            await _end_of(task)
        except asyncio.CancelledError as exc:
            cancelled = exc
            task.kill()
    try:
        if cancelled is not None:
            raise cancelled
        if isinstance(task.exception, TaskExit | GreenletExit):
            raise asyncio.CancelledError(f"{task!r} was killed")
        return task.result
    finally:
        cancelled = None  # its traceback holds this frame


def close() -> None:
    """End this OS thread's asyncio loop, if there is one: cancel its coroutines, wait for them, and close it.

    It ends by itself with its OS thread, the main thread's with the program.  A later `run` starts another.
    A program that starts thousands of OS threads, each with a loop, calls it in them: the interpreter loses
    some 600 bytes for every loop that ends with its thread.
    """
    hub = core.current_hub()
    if hub is not None:
        _close(hub)


def _close(hub: core.Hub) -> None:
    server = _servers.pop(hub, None)
    if server is not None and server.alive:
        server.ending = True
        server.loop.call_soon(server.loop.stop)
        server.join()


def _after_in_child() -> None:
    # They share their kernel queues with the parent: not even to be closed.
    _lost.extend(_servers.values())
    _servers.clear()


fork_hooks.append(_after_in_child)
atexit.register(close)
before_close(_close)
