"""What stands on the ready queue besides greenlets: anything with a ``switch()`` method."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Call", "Failure", "MainInterrupt", "Mark", "Throw"]


class Mark:
    """The end of a round on the ready queue.  Every cycle that runs has a mark of its own."""

    __slots__ = ()

    hub = None  # looked for first, in whatever is taken from the queue


class Call:
    """A callback on the ready queue."""

    __slots__ = ("_args", "_function", "begun")

    def __init__(self, function: Callable[..., object], *args: Any) -> None:
        self._function = function
        self._args = args
        self.begun = False

    def switch(self) -> None:
        if self.begun:
            return
        self.begun = True
        try:
            self._function(*self._args)
        except Exception:
            logging.getLogger("greenify").exception("error in a callback of the hub")


class Throw:
    """An exception on its way into a parked greenlet.

    Args:
        target: the greenlet; it has to have started.
        exception: what is raised where it waits.
        sender: asked by ``sender.wanted()`` at the last moment whether it shall arrive.
    """

    __slots__ = ("_exception", "_sender", "begun", "target")

    def __init__(self, target: greenlet, exception: BaseException, sender: Any = None) -> None:
        self.target = target
        self._exception = exception
        self._sender = sender
        self.begun = False

    def switch(self) -> None:
        if self.begun or self.target.dead:
            return
        if self._sender is None or self._sender.wanted():
            self.begun = True
            self.target.throw(self._exception)


class Failure:
    """An exception that hit the hub, on its way to the main greenlet."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def switch(self) -> None:
        hub = self._hub
        if hub.failures:
            failure = hub.failures[0]
            hub.failures = hub.failures[1:]
            (hub.main_leaf or hub.main).throw(failure)


class MainInterrupt:
    """Lets the main greenlet run what has been left in ``hub.interrupts``."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def switch(self) -> None:
        hub = self._hub
        if hub.interrupts:
            if hub.main_waits_elsewhere():
                hub.run_interrupts()
                return
            # A true value tells the wait that there is something to run (`run_interrupts`).
            (hub.main_leaf or hub.main).switch(True)
