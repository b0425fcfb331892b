"""Channel: hand values from one task to another, which both wait for.

All that a channel decides (who meets whom) is decided inside one native lock, shared by every channel of the
process: `select_channels` waits on several of them and must be met on one only.  Nothing in there blocks or
calls foreign code, so the lock is held for some microseconds at most.

A *party* is one call that waits.  It makes an *offer* to each channel it waits on, and is met through one of
them; the others are withdrawn.  Whoever finds an offer settles both sides: a value never lies between two
tasks, and a party that is interrupted after it was met puts back what it has received.
"""

from __future__ import annotations

import _thread
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import count
from typing import Any, Generic, TypeVar

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.errors import ChannelClosed, HubError
from greenify.locks import deadline_after

__all__ = ["Channel", "select_channels"]

T = TypeVar("T")

_native_rlock = _thread.RLock


class _Guard:
    """The lock of all channels.  Where it would wait for its own thread, it raises."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # Knows its owner at every instruction.
        self._lock: Any = _native_rlock()

    def __enter__(self) -> None:
        if self._lock._is_owned():
            # A finaliser or a signal handler has interrupted the very thread that holds the lock.
            raise HubError(
                "a finaliser or signal handler has interrupted a channel: there, put into a SimpleQueue"
            )
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """In the child: the thread that held the lock is not here."""
        self._lock = _native_rlock()


_guard = _Guard()
fork_hooks.append(_guard.forked)


class _Error:
    """An exception on its way through a channel."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class _Party:
    """One call that waits to be met."""

    __slots__ = ("case", "closed", "met", "offers", "received", "waiter")

    def __init__(self) -> None:
        self.waiter: core.Waiter | None = None  # made when it has to wait
        self.offers: list[_Offer] = []
        self.met = False
        self.closed = False
        self.case = -1
        self.received: Any = None

    def meet(self, case: int, received: Any, closed: bool = False) -> None:
        """Settle it: with the guard held, once."""
        self.met = True
        self.case = case
        self.received = received
        self.closed = closed
        for offer in self.offers:
            offer.queue.pop(offer, None)
        if self.waiter is not None:
            self.waiter.wake()


class _Offer:
    """What one party offers to one channel: to take a value, or to give `item`."""

    __slots__ = ("case", "item", "party", "queue")

    def __init__(self, party: _Party, case: int, queue: _Offers, item: Any = None) -> None:
        self.party = party
        self.case = case
        self.queue = queue
        self.item = item


# In the order of arrival; taking any of them out costs the same.
_Offers = OrderedDict[_Offer, None]


def _first(offers: _Offers) -> _Offer | None:
    """The oldest offer, which is taken out."""
    while offers:
        offer = offers.popitem(last=False)[0]
        waiter = offer.party.waiter
        if waiter is not None and waiter.alive:
            return offer
    return None


class Channel(Generic[T]):
    """A channel between tasks, also of different OS threads.

    A `send` waits for a `receive` and the other way round, unless there is room in the buffer.  Both sides
    are served in the order in which they came.  Iterating receives until the channel is closed::

        for item in channel:
            ...

    Args:
        buffer: how many values `send` may leave without waiting for a receiver.

    Every method may be called from any thread.  Not from finalisers and signal handlers, which may interrupt
    a channel at work (`HubError`): a `SimpleQueue` is for them.

    A task that is killed or timed out while it waits leaves nothing behind, and what it had been handed in
    that very moment goes to the next receiver.
    """

    def __init__(self, buffer: int = 0) -> None:
        if buffer < 0:
            raise ValueError("the buffer of a channel must not be negative")
        self._capacity = buffer
        self._buffer: deque[Any] = deque()
        self._senders: _Offers = OrderedDict()
        self._receivers: _Offers = OrderedDict()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<Channel {state}, {len(self._buffer)} values, {len(self._senders)} senders, "
            f"{len(self._receivers)} receivers at {id(self):#x}>"
        )

    def __len__(self) -> int:
        """How many values are in the buffer."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def send(self, value: T, timeout: float | None = None) -> None:
        """Hand `value` to a receiver, or put it into the buffer; wait until one of them has taken it.

        Args:
            timeout: seconds to wait at most; 0 to fail at once, None for no limit.

        A receiver, the end of the time, or `close` wakes the caller.

        Raises:
            ChannelClosed: the channel is closed, or was closed meanwhile; nobody has received the value.
            TimeoutError: nobody has received the value in time.
        """
        _select(((self, True, value),), timeout)

    def send_exception(self, exception: BaseException, timeout: float | None = None) -> None:
        """`send`, but the receiver raises `exception`.

        Args:
            exception: an exception, not a class.
            timeout: as of `send`.

        Raises:
            TypeError: `exception` is none.
            ChannelClosed, TimeoutError: as `send`.
        """
        if not isinstance(exception, BaseException):
            raise TypeError(f"{exception!r} is no exception that could be raised")
        _select(((self, True, _Error(exception)),), timeout)

    def receive(self, timeout: float | None = None) -> T:
        """Wait for a value and return it.

        Args:
            timeout: seconds to wait at most; 0 to fail at once, None for no limit.

        Raises:
            ChannelClosed: the channel is closed and empty.
            TimeoutError: nothing came in time.
            BaseException: what somebody has given to `send_exception`.
        """
        received: T = _select(((self, False, None),), timeout)[1]
        return received

    def close(self) -> None:
        """Let nobody send any more.

        What is in the buffer can still be received.  Senders and receivers that wait get `ChannelClosed`.
        Closing it again does nothing.
        """
        with _guard:
            self._closed = True
            for offers in (self._senders, self._receivers):
                while offers:
                    offer = _first(offers)
                    if offer is not None:
                        offer.party.meet(offer.case, None, closed=True)

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                received = self.receive()
            except ChannelClosed:
                # Raised by this channel, or sent as an exception by somebody: that ends the loop, too.
                return
            yield received

    # With the guard held:

    def _give(self, item: Any) -> bool:
        """Hand over `item` without waiting, if that is possible."""
        receiver = _first(self._receivers)
        if receiver is not None:
            receiver.party.meet(receiver.case, item)
        elif len(self._buffer) < self._capacity:
            self._buffer.append(item)
        else:
            return False
        return True

    def _take(self, case: int, party: _Party) -> bool:
        """Take a value without waiting, if there is one."""
        if self._buffer:
            party.meet(case, self._buffer.popleft())
            self._refill()
            return True
        sender = _first(self._senders)
        if sender is None:
            return False
        party.meet(case, sender.item)
        sender.party.meet(sender.case, None)
        return True

    def _refill(self) -> None:
        while len(self._buffer) < self._capacity:
            sender = _first(self._senders)
            if sender is None:
                return
            self._buffer.append(sender.item)
            sender.party.meet(sender.case, None)

    def _return(self, item: Any) -> None:
        """Put back what a receiver was handed and could not take any more: it is the oldest."""
        receiver = _first(self._receivers)
        if receiver is not None:
            receiver.party.meet(receiver.case, item)
        else:
            self._buffer.appendleft(item)


# The cases of one call: channel, whether to send, what to send.
_Cases = tuple[tuple[Channel[Any], bool, Any], ...]

_turn = count()


def _select(cases: _Cases, timeout: float | None) -> tuple[int, Any]:
    """Carry out the first of `cases` that is possible; its number, and what it has received."""
    deadline = deadline_after(timeout)
    party = _Party()
    with _guard:
        first = next(_turn) % len(cases) if len(cases) > 1 else 0
        for number in (*range(first, len(cases)), *range(first)):
            if _try(cases[number], number, party):
                break
        else:
            if deadline is None or deadline > _monotonic():
                party.waiter = core.new_waiter()
                for number, (channel, sends, item) in enumerate(cases):
                    queue = channel._senders if sends else channel._receivers
                    offer = _Offer(party, number, queue, item)
                    queue[offer] = None
                    party.offers.append(offer)
    if not party.met:
        try:
            if party.waiter is not None:
                party.waiter.wait(deadline)
        except BaseException:
            _withdraw(party, cases)
            raise
        with _guard:
            _forget(party)
        if not party.met:
            raise TimeoutError("the channel had nobody to meet in time")
    if party.closed:
        raise ChannelClosed("the channel is closed")
    received = party.received
    if isinstance(received, _Error):
        try:
            raise received.exception
        finally:
            del received, party  # the traceback holds this frame
    return party.case, received


def _try(case: tuple[Channel[Any], bool, Any], number: int, party: _Party) -> bool:
    """Carry out a case for `party` if it need not wait."""
    channel, sends, item = case
    if sends:
        if channel._closed:
            party.meet(number, None, closed=True)
        elif channel._give(item):
            party.meet(number, None)
    elif not channel._take(number, party) and channel._closed:
        party.meet(number, None, closed=True)
    return party.met


def _forget(party: _Party) -> None:
    for offer in party.offers:
        offer.queue.pop(offer, None)


def _withdraw(party: _Party, cases: _Cases) -> None:
    """`party` was interrupted: take back its offers, and put back what it has been handed meanwhile."""
    with _guard:
        _forget(party)
        if party.met and not party.closed:
            channel, sends, _ = cases[party.case]
            if not sends:
                channel._return(party.received)


def select_channels(
    *cases: Channel[Any] | tuple[Channel[Any], Any], timeout: float | None = None
) -> tuple[int, Any]:
    """Wait for the first of several sends and receives, and carry out that one only::

        number, value = select_channels(requests, (answers, answer))

    Args:
        cases: a channel to receive from it; ``(channel, value)`` to send `value`.  When several are possible,
            they have their turns: a case that stays possible is chosen after as many calls as there are
            cases at most.
        timeout: seconds to wait at most; 0 to fail at once, None for no limit.

    Returns:
        The number of the case, counted from 0, and what it has received (None for a send).

    Raises:
        ChannelClosed: a channel in the cases is closed (and, for a receive, empty).
        TimeoutError: nothing was possible in time.
        BaseException: what somebody has given to `Channel.send_exception`.
    """
    if not cases:
        raise ValueError(
            "there is nothing to select from: give channels, or pairs (channel, value)"
        )
    checked: list[tuple[Channel[Any], bool, Any]] = []
    for case in cases:
        if isinstance(case, Channel):
            checked.append((case, False, None))
        elif isinstance(case, tuple) and len(case) == 2 and isinstance(case[0], Channel):
            checked.append((case[0], True, case[1]))
        else:
            raise TypeError(f"{case!r} is neither a channel nor a pair (channel, value)")
    return _select(tuple(checked), timeout)
