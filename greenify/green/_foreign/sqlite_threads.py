"""SQLite's ``check_same_thread``: a connection is used in the green thread that has made it, and in no other.

C compares the identifier of the OS thread with the one that the connection remembers, which is the same for
all green threads there.  So what the connection remembers is changed at switches: it is right while the
thread that has made it runs, and wrong while another one does.  C does the rest: the methods stay what they
are, cost what they cost, and refuse what they refuse.

Only switches are slower, and only on an OS thread where such a connection is alive.  Connections that are
made with ``check_same_thread=False`` cost nothing.

`sqlite_connections` says who tells of new connections, and where they remember what.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakSet, ref

from greenlet import getcurrent, greenlet

# What `_thread` has natively: this is imported when the program imports sqlite3, after the patch.
from greenify.core.native import _get_ident as _native_get_ident
from greenify.core.registry import current_hub
from greenify.green._foreign.sqlite_connections import ELSEWHERE, Fields, tell_of_connections
from greenify.green._foreign.sqlite_sleep import NotFound
from greenify.green._threads.ctypes_errno import _native_local
from greenify.green._threads.switches import follow, unfollow
from greenify.identity import get_ident

__all__ = ["follow_threads"]

_TEXT = re.compile(r"(.* thread id )(\d+)( and this is thread id )(\d+)(.*)", re.DOTALL)


class _Connection(ref[Any]):
    """A connection that is alive while this, which refers to what lives as long, is."""

    __slots__ = ("address", "ident", "remembered")

    address: int
    ident: int  # of the thread that has made it
    remembered: Any  # None while C may not have set it

    def remember(self, native: int) -> None:
        """Let the connection remember that identifier, if it is alive."""
        alive = self()
        if alive is not None:
            try:
                self.remembered.value = native
            except ReferenceError:
                pass  # CPython 3.10, where `alive` does not keep it from ending here, on another OS thread


class _Threads:
    """The connections that the threads of one OS thread have made."""

    __slots__ = ("__weakref__", "connections", "ended", "fields", "live", "native", "new")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.native = _native_get_ident()
        #: Those of each thread.  The lists are replaced, for they may be gone through meanwhile.
        self.connections: dict[int, list[_Connection]] = {}
        #: Those whose fields C may not have set yet, and those that have ended.  Any OS thread appends.
        self.new: list[_Connection] = []
        self.ended: list[_Connection] = []
        self.live = self.native

    def add(self, address: int, life: Any, remembered: Any) -> None:
        """A connection has been made by the calling thread."""
        known = _Connection(life, self.ended.append)
        known.address = address
        known.remembered = remembered
        # Without a hub there is one thread, which may stand for a green one elsewhere.
        known.ident = self.native if current_hub() is None else self._ident_of(getcurrent())
        self._sort()
        if not self.connections and not self.new:
            self.live = known.ident
        if remembered is None:
            self.new.append(known)
        else:
            self._keep(known)
        follow(self.switched)

    def _keep(self, known: _Connection) -> None:
        self.connections[known.ident] = [*self.connections.get(known.ident, []), known]

    def _sort(self) -> None:
        new, self.new = self.new, []
        for known in new:
            alive = known()
            if alive is None:
                continue
            known.remembered = self.fields.remembered(known.address)
            if not known.remembered.value:
                self.new.append(known)  # the switch is one in the middle of its making
            elif self.fields.checked(known.address):
                self._keep(known)
        while self.ended:
            mine = self.connections.pop(self.ended.pop().ident, [])
            left = [known for known in mine if known() is not None]
            if left:
                self.connections[left[0].ident] = left

    def switched(self, origin: greenlet, target: Any) -> None:
        """For `follow`."""
        if self.new or self.ended:
            self._sort()
        ident = self._ident_of(target)
        live = self.live
        if ident != live:
            self.live = ident
            for known in self.connections.get(live, ()):
                known.remember(live | ELSEWHERE)
            for known in self.connections.get(ident, ()):
                known.remember(self.native)
        if not (self.connections or self.new):
            unfollow(self.switched)

    def _ident_of(self, current: Any) -> int:
        """Of the thread that runs, in the current greenlet."""
        if hasattr(current.parent, "greenify_adopt"):
            return self.native
        return getattr(current, "ident", 0) or get_ident()

    def give_up(self) -> None:
        """All connections are usable on this OS thread again, and nobody follows its switches for them."""
        self._sort()
        for mine in self.connections.values():
            for known in mine:
                known.remember(self.native)
        self.connections = {}
        self.new = []


class _Followed:
    """The connections of one module."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.here = _native_local()
        self.everybody: WeakSet[_Threads] = WeakSet()
        self.fields = Fields(module)
        self.telling = tell_of_connections(module, self._told, self.fields)

    def _told(self, connection: Any, life: Any, remembered: Any) -> None:
        threads: _Threads | None = getattr(self.here, "threads", None)
        if threads is None:
            threads = self.here.threads = _Threads(self.fields)
            self.everybody.add(threads)
        threads.add(id(connection), life, remembered)

    def tell_of_earlier(self) -> None:
        """Those that have been made on this OS thread before the patch are its first thread's."""
        me = _native_get_ident()
        for connection in gc.get_objects():
            if isinstance(connection, self.module.Connection):
                if self.fields.remembered(id(connection)).value == me:
                    self.telling.tell_of(connection)

    def end(self) -> None:
        self.telling.end()
        for threads in tuple(self.everybody):
            threads.give_up()

    # What the refusal says.

    def corrected(self, text: str) -> str:
        """The refusal with the identifiers of the green threads."""
        parts = _TEXT.fullmatch(text)
        if parts is None or int(parts[4]) != _native_get_ident():
            return text
        maker = int(parts[2])
        if maker & ELSEWHERE:
            maker -= ELSEWHERE
        else:
            # Asked from another OS thread, while the maker has its turn on its own.
            for threads in tuple(self.everybody):
                if threads.native == maker:
                    maker = threads.live
        return f"{parts[1]}{maker}{parts[3]}{get_ident()}{parts[5]}"


def follow_threads(module: ModuleType, earlier: bool) -> Callable[[], None]:
    """Let the connections of `module` be usable in the green thread alone that has made them.

    Args:
        module: `_sqlite3`.
        earlier: whether there may be connections already.

    Returns:
        A function that takes it back.

    Raises:
        NotFound: this version does not show what is needed; nothing has been changed.
    """
    if sys.implementation.name != "cpython":
        raise NotFound("it is not CPython's")
    followed = _Followed(module)
    error: Any = vars(module)["ProgrammingError"]

    def __init__(self: Any, *args: Any) -> None:
        if len(args) == 1 and type(args[0]) is str:
            args = (followed.corrected(args[0]),)
        error.__base__.__init__(self, *args)

    error.__init__ = __init__
    if earlier:
        followed.tell_of_earlier()

    def take_back() -> None:
        followed.end()
        if vars(error).get("__init__") is __init__:
            del error.__init__

    return take_back
