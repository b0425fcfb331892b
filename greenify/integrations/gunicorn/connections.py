"""What the worker knows of a connection, how long it may be silent, and who waits for it meanwhile.

A connection that is kept alive keeps the thread that has answered on it, some 14 KiB, only for as long as
`patience` says.  Then it is parked: its descriptor stands in a selector that one task watches, and its next
request gets another thread.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any

from greenlet import getcurrent
from gunicorn.http.body import LengthReader

from greenify.core.registry import get_hub
from greenify.core.slices import is_preempted
from greenify.task import Task, spawn
from greenify.timeout import Timeout

__all__ = ["FEW", "PATIENCE", "Connection", "Head", "Listener", "Parked", "Parking", "patience"]

#: Seconds for which the thread of a silent connection waits for the next request itself, at most.
PATIENCE = 0.25

#: Up to so many threads it is that.
FEW = 100

# Seconds after which a thread that has been stopped in the middle of its code is looked at again.
_AGAIN = 0.01


def patience(threads: int, busy: bool) -> float:
    """Seconds for which the thread of a silent connection waits for the next request itself.

    The more threads there are, the shorter: a thousand clients that come one after the other are never all
    with a thread, whose memory the process would keep (28.8 MiB instead of 24.8 for the worker).

    Not of a connection that is busy: to give up a thread and get another costs 100 us, more than a request.

    Args:
        threads: how many connections have one.
        busy: whether the last request of this one has come within `PATIENCE` of the one before.
    """
    return PATIENCE if busy or threads <= FEW else PATIENCE * (FEW / threads) ** 2


class Listener:
    """Stands for a listener: connections outlive the socket, and all that gunicorn asks of it is its name."""

    __slots__ = ("_name",)

    def __init__(self, sock: Any) -> None:
        self._name = sock.getsockname()

    def getsockname(self) -> Any:
        return self._name


class _Ear:
    """Stands for the socket in gunicorn's parser, and tells whether anything has come."""

    __slots__ = ("_sock", "_timeout", "heard")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timeout: float | None = sock.gettimeout()
        self.heard = False

    # gunicorn sets the time-out after each request to what it was.

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, seconds: float | None) -> None:
        if seconds != self._timeout:
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        self.heard = True
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Connection:
    """What the worker knows of one connection that has a thread; that thread alone sets it."""

    __slots__ = ("_ear", "_request", "busy", "parked", "sock", "used", "waiting")

    def __init__(self, sock: socket.socket, *, used: bool = False, busy: bool = False) -> None:
        self.sock = sock
        self.used = used  # whether a request has come
        self.busy = busy  # whether the last one has come within `PATIENCE` of the one before
        self.waiting = True  # for (the rest of) the head of a request
        self.parked: socket.socket | None = None  # what goes on as a parked one
        self._ear: _Ear | None = None
        self._request: Any = None

    def answering(self, request: Any, parkable: bool) -> None:
        """Take note of a request of which the head has come."""
        self.waiting = False
        if parkable:
            self._request = request
            if self._ear is None:
                self._ear = request.unreader.sock = _Ear(self.sock)

    def is_between_requests(self) -> bool:
        """Before gunicorn is asked for the next head: whether nothing of it has been read yet."""
        if self._ear is None:
            return False
        # gunicorn reads what an application has left of a body when it is asked for the next head.
        reader = self._request.body.reader
        rest = (
            reader.length if isinstance(reader, LengthReader) else getattr(reader, "parser", True)
        )
        # What has come together with a request is in the buffer, until the parser takes it out for the next.
        if rest or self._request.unreader.buf.tell():
            return False
        self._ear.heard = False
        return True

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come since then."""
        return self._ear is not None and not self._ear.heard

    def park(self) -> None:
        """Take the descriptor from the socket, which gunicorn closes now."""
        sock = self.sock
        family, kind, protocol = sock.family, sock.type, sock.proto
        self.parked = socket.socket(family, kind, protocol, fileno=sock.detach())

    def hang_up(self) -> None:
        """Let a read that waits, and all later ones, find the end of the stream."""
        # Not SSLSocket.shutdown, which would forget the encryption underneath a thread that reads.
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RD)


class Head(Timeout):
    """The time in which the head of a request has to arrive; silent, for gunicorn then closes.

    Where nothing at all has come after the thread's patience, the connection is parked, and the time goes on
    there.

    One object serves all requests of a connection, one after the other: its thread uses it as a context
    manager, with what `within` returns, and calls `cancel` at the end.  One entry among the hub's timers does
    for many requests: where it comes early it is made anew, which is rarer than a request.

    Args:
        connection: whose thread asks for the head.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(None, False)
        self.connection = connection
        self.rest = inf  # of the time, in seconds, when the connection is parked
        self._parks = False
        self._until = inf
        self._turns = -1

    def give_way(self) -> None:
        """Between two requests: let the others run, unless they have since the last time.

        A peer that always answers before it is waited for would be served for a whole time slice, and each of
        a thousand such in turn: seconds for those that come last.
        """
        hub = self._hub
        if hub is None:
            hub = self._hub = get_hub()
        if hub.turns == self._turns:
            hub.pause()
        self._turns = hub.turns

    def within(self, seconds: float | None, patience: float = PATIENCE) -> Head:
        """Set the time for the next head, in seconds, and of it the time of the thread; None for no limit."""
        seconds = inf if seconds is None else seconds
        self._parks = seconds > patience and self.connection.is_between_requests()
        self.rest = seconds - patience
        self.seconds = patience if self._parks else seconds
        return self

    def due(self) -> None:
        """Called by the hub: the head has the rest of its time once a part of it has come."""
        self._entry = None
        if self._target is None:
            return  # a request is being answered
        now = monotonic()
        if self._until <= now and not self._goes_on(now):
            super().due()
        else:
            self._count()

    def wanted(self) -> bool:
        """Whether what is on its way is for the present head: the one before may have come just in time."""
        if self._target is None or self._raised is None:
            return False
        if self._goes_on(monotonic()):
            # Something has come since then.
            self._raised = None
            self._count()
            return False
        return True

    def _goes_on(self, now: float) -> bool:
        """Whether the thread is to have more time, which is set then."""
        if self._parks and not self.connection.is_silent:
            self._parks = False
            self._until = now + self.rest
            return True
        if is_preempted(self._target.gr_frame):
            # Its slice has ended while it works on what has come, or on the way to the first read or from the
            # last: outside of the block the exception would be an error of the request.
            self._until = now + _AGAIN
            return True
        return False

    def _count(self) -> None:
        if self._until < inf:
            if self._hub is None:
                self._hub = get_hub()
            self._entry = self._hub.timers.add(self._until, self)

    def __enter__(self) -> Head:
        self.connection.waiting = True
        # First: from the next line on an entry from before may find the time to be up.
        self._until = monotonic() + (self.seconds or 0)
        self._target = getcurrent()
        entry = self._entry
        if entry is None:
            self._count()
        elif entry[0] > self._until and self._hub is not None:
            self._hub.timers.cancel(entry)
            self._count()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._target = None
        if self._raised is not None:
            self.cancel()
        connection = self.connection
        connection.waiting = False
        connection.used = True
        if exc is not self:
            if self._parks:
                connection.busy = True  # it has come before it was parked
            return False
        # It refers to the frames of the thread, of which one refers to this: 5 KiB until the next collection.
        self.__traceback__ = None
        if self._parks and connection.is_silent:
            connection.park()
        return True


class Parked:
    """A connection without a thread.

    Args:
        listener, sock, address: of the connection.
        seconds: how long it may be silent from now on.
        waited: for how many seconds its thread has waited.
    """

    __slots__ = ("_soon", "address", "listener", "sock", "until")

    def __init__(
        self, listener: Listener, sock: socket.socket, address: Any, seconds: float, waited: float
    ) -> None:
        self.listener = listener
        self.sock = sock
        self.address = address
        now = monotonic()
        self.until = now + seconds
        self._soon = now + PATIENCE - waited

    def is_busy(self) -> bool:
        """Whether a request that comes now comes within `PATIENCE` of the one before."""
        return monotonic() < self._soon

    def is_asking(self) -> bool:
        """Whether it is readable because something has come: it may have been closed, too."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True  # somebody else's waking; its thread will wait
        except OSError:
            return False


class Parking:
    """The parked connections of a worker, and the one task that waits for all of them.

    Args:
        resume: called in that task with one that has sent something.
        closed: called in that task after one has been closed, by its peer or because its time was up.
    """

    def __init__(self, resume: Callable[[Parked], object], closed: Callable[[], object]) -> None:
        self._resume = resume
        self._closed = closed
        # In the order of their ends, to within `PATIENCE`: a part of their time has passed with a thread.
        self._parked: dict[int, Parked] = {}
        self._selector = selectors.DefaultSelector()
        self._watching: Task[None] | None = None

    def __len__(self) -> int:
        return len(self._parked)

    def add(self, parked: Parked) -> None:
        """Wait for what it sends, until its time is up."""
        fd = parked.sock.fileno()
        self._parked[fd] = parked
        self._selector.register(fd, selectors.EVENT_READ, parked)
        if self._watching is None:
            self._watching = spawn(self._watch)

    def close(self) -> None:
        """Close all of them."""
        for parked in list(self._parked.values()):
            self._close(parked)

    def _watch(self) -> None:
        while self._parked:
            first = next(iter(self._parked.values()))
            events = self._selector.select(max(0.0, first.until - monotonic()))
            for key, _ in events:
                parked: Parked = key.data
                if self._parked.get(key.fd) is not parked:
                    continue  # closed meanwhile
                if parked.is_asking():
                    self._take(parked)
                    self._resume(parked)
                else:
                    self._close(parked)
            now = monotonic()
            for parked in list(self._parked.values()):
                if parked.until > now:
                    break
                self._close(parked)
        self._watching = None

    def _take(self, parked: Parked) -> None:
        fd = parked.sock.fileno()
        del self._parked[fd]
        self._selector.unregister(fd)

    def _close(self, parked: Parked) -> None:
        self._take(parked)
        parked.sock.close()
        self._closed()
