"""A thread is a greenlet on a hub."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
from typing import Any
from weakref import getweakrefcount

from greenlet import GreenletExit, greenlet

from greenify.core.entries import Throw
from greenify.core.hub import Hub
from greenify.errors import TaskExit
from greenify.green._threads.handles import Sentinel, ThreadHandle
from greenify.green._threads.threading import _bootstrap
from greenify.local import forget_thread
from greenify.task import report_lost

__all__ = ["GreenThread", "report_unraisable"]

# How many greenlets a hub keeps for further threads: some 8 KiB each.
_SPARES = 64

# How many ready ones are looked at for a late wake-up, at 10 ns each.
_SEARCHED = 100


class GreenThread(greenlet):
    """A thread of the program, run as a greenlet; or several threads, one after the other.

    A new greenlet costs a mapping of memory for its frames and takes it back at its end: 8.9 us on CPython
    3.11, where one that has been used before is there after 0.3 us.  So a greenlet whose thread has ended
    stays in ``hub.spares`` for another one, unless somebody might notice.
    """

    # `greenify_track` is a trace's, two others are for who asks from outside (`inspect.since`): CPython 3.11
    # takes four times as long for an attribute in a dictionary.
    __slots__ = (
        "_args", "_function", "_kwargs", "_lives", "end", "greenify_track", "greenify_waits",
        "greenify_woken", "hub", "ident", "locals", "native_id",
    )  # fmt: skip

    # Set when a raw greenlet is known to have run inside of this one: it may be suspended, and would go on as
    # a part of the next thread.
    inner = False

    def __init__(self, hub: Hub) -> None:
        greenlet.__init__(self, None, hub.greenlet)
        self._function: Callable[..., object] | None = None
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        self._lives = 0  # how many threads it has been
        self.hub = hub
        self.ident = id(self)
        self.native_id = 0  # there is none yet (`native_ids`)
        self.locals: Any = None
        self.end: Sentinel | ThreadHandle | None = None

    def become(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        end: ThreadHandle | None,
    ) -> None:
        """Be the thread that calls ``function(*args, **kwargs)``, to be started by `Hub.start`."""
        if self._lives:
            # What has come since the last one ended, a finaliser's context variables; its trace functions
            # (`tracing`).
            self.gr_context = None
            vars(self).clear()
            self.native_id = 0
        self._lives += 1
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self.end = end

    def throw_soon(self, error: BaseException, wanted: Callable[[], bool] | None = None) -> None:
        """Have `error` raised in the thread, where it waits or when it first does.  Any OS thread.

        `wanted` is asked at the last moment whether it still shall be.
        """
        if self.hub.foreign():
            self.hub.call_from_thread(self.throw_soon, error, wanted)
        else:
            self.hub.ready.append(Throw(self, error, _Life(self, wanted)))

    def __repr__(self) -> str:
        thread = threading._active.get(self.ident)  # type: ignore[attr-defined]
        what = repr(thread) if thread is not None else repr(self._function)
        return f"<GreenThread {self.ident:#x} running {what}>"

    run = _bootstrap

    def _report(self, exc: BaseException) -> None:
        # SystemExit ends a thread silently, as documented of _thread.exit.
        if self.hub.abandoned or isinstance(exc, (SystemExit, TaskExit, GreenletExit)):
            return
        try:
            report_unraisable(exc, self._function)
        except (TaskExit, GreenletExit):
            pass  # killed once more while it was ending
        except BaseException:
            report_lost(self)

    def _finish(self) -> None:
        try:
            self._function = None
            self._args = ()
            self._kwargs = {}
            forget_thread(self)
            # Here, for what dies with it counts as the thread's own: who joins finds it done.
            self.gr_context = None
        except (TaskExit, GreenletExit):
            pass
        except BaseException:
            report_lost(self)
        finally:
            self.hub.finished(self)
            end = self.end
            if end is not None:
                self.end = None
                end._finish()

    def _reusable(self) -> bool:
        """Whether nobody knows this greenlet who would take the next thread for the one that has ended."""
        hub = self.hub
        ready = hub.ready
        return (
            len(hub.spares) < _SPARES
            and not hub.abandoned
            and self.parent is hub.greenlet  # it is another one's after a fork (`core.fork`)
            and self.locals is None
            and not self.inner
            # It has set nothing that a new one would not have (`switches`); asked without a call.
            and "settings" not in self.__dict__
            and not getweakrefcount(self)
            # No late wake-up, which a raw greenlet's caller would take for its answer.
            and len(ready) < _SEARCHED
            and self not in ready
        )


class _Life:
    """One of the threads that a greenlet is, as the sender of a `Throw`."""

    __slots__ = ("_life", "_thread", "_wanted")

    def __init__(self, thread: GreenThread, wanted: Callable[[], bool] | None) -> None:
        self._thread = thread
        self._life = thread._lives
        self._wanted = wanted

    def wanted(self) -> bool:
        """Whether that thread has not ended, and what is thrown has not been taken back."""
        return (
            self._thread._function is not None
            and self._thread._lives == self._life
            and (self._wanted is None or self._wanted())
        )


def report_unraisable(exc: BaseException, function: Callable[..., object] | None) -> None:
    """Say that `exc` has ended the thread of `function`, as the interpreter does, by `sys.unraisablehook`."""
    tb = exc.__traceback__
    tb = tb.tb_next if tb is not None else None  # without our own frame
    exc = exc.with_traceback(tb)
    hook = sys.unraisablehook
    if sys.version_info >= (3, 13):
        message, subject = f"Exception ignored in thread started by {function!r}", None
    else:
        message, subject = "Exception ignored in thread started by", function
    if hook is not sys.__unraisablehook__:
        try:
            hook(
                types.SimpleNamespace(
                    exc_type=type(exc),
                    exc_value=exc,
                    exc_traceback=tb,
                    err_msg=message,
                    object=subject,
                )
            )
            return
        except Exception as error:
            # The interpreter reports an error in the hook in the hook's place.
            exc, tb = error, error.__traceback__
            message, subject = "Exception ignored in sys.unraisablehook", hook
    # The default hook takes only a C structure that cannot be made from here: print what it prints.
    stream = sys.stderr
    if stream is None:
        return
    import traceback

    heading = message if subject is None else f"{message}: {subject!r}"
    stream.write(heading + "\n")
    traceback.print_exception(type(exc), exc, tb, file=stream)
    stream.flush()
