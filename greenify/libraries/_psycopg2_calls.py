"""The calls of psycopg2's connections and cursors: which of them run on the hub, and how; see `psycopg2`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.green._foreign import NOT_YET, hand_over
from greenify.green._foreign.turns import Turns, in_turn, turns_of
from greenify.green._foreign.wait_callbacks import NOTHING, WaitCallback
from greenify.libraries.remedies import like

__all__ = [
    "at_once",
    "busy",
    "call",
    "ending",
    "executing",
    "iterating",
    "module",
    "of_connection",
    "of_cursor",
    "of_named_cursor",
    "originals",
    "polling",
    "waiting",
]

# The longest text that is sent from the hub, in bytes.  The buffer of a socket over Ethernet holds 40 KiB.
_SHORT = 16 * 1024

# How often a finaliser that cannot wait for its turn looks whether the statement of another has ended; and
# for how long it does on top of a statement of its own thread, which the other may wait for.  In seconds.
_PAUSE = 0.001
_PATIENCE = 1.0

# Of ``connection.status`` and ``connection.poll()``, as psycopg2.extensions has them.
_READY, _BEGIN = 1, 2
_POLL_OK, _POLL_WRITE = 0, 2
# Of ``connection.get_transaction_status()``: libpq waits for nothing.
_QUIET = frozenset({0, 2, 3})

# Arguments that C code reads without calling anything.
_PLAIN = frozenset({int, str, type(None)})

# The C functions that are needed besides those that the twins are made of, by name.
originals: dict[str, Any] = {}


def module() -> Any:
    return sys.modules["psycopg2._psycopg"]


def waiting() -> WaitCallback:
    callback: WaitCallback | None = originals.get("callback")
    return callback or originals.setdefault("callback", _make())


def _make() -> WaitCallback:
    poll, fileno = originals["poll"], originals["fileno"]

    def poll_it(connection: Any) -> tuple[int, bool]:
        state = poll(connection)
        return NOTHING if state == _POLL_OK else (fileno(connection), state == _POLL_WRITE)

    return WaitCallback(originals["get_wait_callback"], originals["set_wait_callback"], poll_it)


def busy() -> BaseException:
    error: BaseException = module().ProgrammingError(
        "the connection is in use: a statement of the same thread is under way"
    )
    return error


def _in_use_elsewhere() -> BaseException:
    error: BaseException = module().ProgrammingError(
        "the connection is in use: another thread waits for a statement, and this one is in the middle of "
        "another, on top of which it cannot wait for longer"
    )
    return error


def _cancel(connection: Any) -> None:
    if not connection.closed:
        connection.cancel()


def call(
    connection: Any,
    original: Callable[..., Any],
    args: Any,
    kwargs: Any,
    cancel: bool,
    here: Callable[[WaitCallback, Turns, Any], Any] | None = None,
) -> Any:
    """Call ``original(*args, **kwargs)``, a method of the connection or of what belongs to it, in its turn.

    Args:
        cancel: whether the server is told to cancel it when the caller is killed or interrupted.
        here: ``here(callback, turns, interrupt)`` does the same on the hub, or returns `NOT_YET`.
    """
    if connection.async_:
        return original(*args, **kwargs)  # it does not wait
    callback = waiting()
    turns = turns_of(connection, busy)
    if callback.users():
        if turns.taken:  # from before it was set
            if not turns.begin():
                return turns.thread.call(original, *args, **kwargs)
            turns.end()
        return original(*args, **kwargs)  # it waits in Python
    interrupt: Callable[[], object] | None = None
    if cancel:
        # A cancellation is a connection of its own, and may wait as well.
        interrupt = partial(hand_over, _cancel, connection)
    if not turns.begin():
        return callback.unused(_again, turns, interrupt, callback.without(original), args, kwargs)
    if here is not None:
        result = NOT_YET
        try:
            # Else it is lost, or in a COPY that was refused, which libpq ends where it waits itself.
            if originals["get_transaction_status"](connection) in _QUIET:
                result = here(callback, turns, interrupt)
        except BaseException:
            turns.end()
            raise
        if result is not NOT_YET:
            turns.end()
            return result
    return turns.natively(callback, interrupt, original, args, kwargs)


def _again(
    turns: Turns,
    interrupt: Callable[[], object] | None,
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Any:
    """A call without a turn, on the native thread: no other begins to wait on the hub meanwhile."""
    limit = _monotonic() + _PATIENCE
    while turns.on_hub:
        if _monotonic() > limit and in_turn():
            raise _in_use_elsewhere()
        core.sleep(_PAUSE)
    if interrupt is None:
        return turns.thread.call(function, *args, **kwargs)
    return turns.thread.call_interruptibly(interrupt, function, *args, **kwargs)


def at_once(connection: Any, original: Callable[..., Any], *args: Any) -> Any:
    """Call what does not wait but for the calls of others."""
    return call(
        connection, original, args, {}, False, lambda callback, turns, interrupt: original(*args)
    )


def of_connection(original: Callable[..., Any], cancel: bool = False) -> Any:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self, original, (self, *args), kwargs, cancel)

    return like(original, twin)


def ending(original: Callable[..., Any]) -> Any:
    """The end of a transaction: ``commit`` or ``rollback``."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        def here(callback: WaitCallback, turns: Turns, interrupt: Any) -> Any:
            if args or kwargs or not callback.here():
                return NOT_YET
            if self.status != _BEGIN:
                return original(self)  # there is none
            return callback.call(turns, interrupt, original, self)

        return call(self, original, (self, *args), kwargs, False, here)

    return like(original, twin)


def polling(original: Callable[..., Any]) -> Any:
    originals["poll"] = original

    def twin(self: Any, *args: Any) -> Any:
        return at_once(self, original, self, *args)

    return like(original, twin)


def of_cursor(original: Callable[..., Any]) -> Any:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self.connection, original, (self, *args), kwargs, True)

    return like(original, twin)


def executing(original: Callable[..., Any], mogrify: Callable[..., Any]) -> Any:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        statement = None
        if not connection.async_:
            callback = waiting()
            if callback.here() and not callback.users():
                statement = _bound(mogrify, self, args, kwargs)
        if statement is None:
            return call(connection, original, (self, *args), kwargs, True)

        def here(callback: WaitCallback, turns: Turns, interrupt: Any) -> Any:
            if connection.status == _READY:
                if not connection.autocommit:
                    if self.name is not None or self.closed:
                        return NOT_YET
                    # A BEGIN and no more: an object without a mode is not opened.
                    begin = originals["lobject"]
                    if callback.call(turns, interrupt, begin, connection, 1, "n") is NOT_YET:
                        return NOT_YET
                elif turns.entered:
                    return NOT_YET
            return callback.call(turns, interrupt, original, self, statement)

        return call(connection, original, (self, statement), {}, True, here)

    return like(original, twin)


def _bound(mogrify: Callable[..., Any], cursor: Any, args: Any, kwargs: Any) -> bytes | None:
    """The text that goes to the server, with its arguments; None if it is not for the hub."""
    try:
        statement: bytes = mogrify(cursor, *args, **kwargs)
    except Exception:
        return None  # `execute` raises it, and forgets its last result before
    # COPY, which is refused here, comes to its end in C.
    if len(statement) > _SHORT or b"copy" in statement.lower():
        return None
    return statement


def of_named_cursor(original: Callable[..., Any]) -> Any:
    """Rows of other cursors have come with the query."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.name is None:
            return original(self, *args, **kwargs)
        connection = self.connection

        def here(callback: WaitCallback, turns: Turns, interrupt: Any) -> Any:
            if (
                kwargs
                or connection.status != _BEGIN
                or self.query is None  # then `close` asks for the cursor first
                or not _PLAIN.issuperset(map(type, args))
                or not callback.here()
            ):
                return NOT_YET
            return callback.call(turns, interrupt, original, self, *args, calls_back=True)

        return call(connection, original, (self, *args), kwargs, True, here)

    return like(original, twin)


def iterating(original: Callable[..., Any]) -> Any:
    def twin(self: Any) -> Any:
        if self.name is None:
            return original(self)
        connection = self.connection

        def here(callback: WaitCallback, turns: Turns, interrupt: Any) -> Any:
            if self.rownumber < self.rowcount:
                return original(self)  # it has come with those before it
            if connection.status != _BEGIN or not callback.here():
                return NOT_YET
            rows = map(original, (self,))
            row = callback.call(turns, interrupt, next, rows, turns, calls_back=True)
            if row is turns:
                raise StopIteration
            return row

        return call(connection, original, (self,), {}, True, here)

    return like(original, twin)
