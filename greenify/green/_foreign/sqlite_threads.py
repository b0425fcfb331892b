"""SQLite's ``check_same_thread``: a connection is used in the green thread that has made it, and in no other.

C compares the identifier of the OS thread with the one that the connection remembers, which is the same for
all green threads there.  So what the connection remembers is changed at switches: it is right while the
thread that has made it runs, and wrong while another one does.  C does the rest: the methods stay what they
are, cost what they cost, and refuse what they refuse.

Only switches are slower, and only on an OS thread where such a connection is alive.  Connections that are
made with ``check_same_thread=False`` cost nothing.

What is needed of the C code is found out once, by looking where known values appear, and tried out: where in
a connection it remembers the thread, and where the module keeps `functools.lru_cache`, with which each new
connection makes the cache of its statements.  A function in its place is told of every connection, of
whatever class, and the cache, which refers to its connection, says how long that lives.  CPython 3.10 has no
such cache.  A connection that is closed has given it up: it says that it is closed, whoever asks.
"""

from __future__ import annotations

import ctypes
import functools
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
from greenify.green._foreign.sqlite_sleep import NotFound
from greenify.green._threads.ctypes_errno import _native_local
from greenify.green._threads.switches import follow, unfollow
from greenify.identity import get_ident

__all__ = ["follow_threads"]

_TEXT = re.compile(r"(.* thread id )(\d+)( and this is thread id )(\d+)(.*)", re.DOTALL)

# What a connection remembers while another green thread runs: no thread has an odd identifier.
_ELSEWHERE = 1


class _Connection(ref[Any]):
    """A connection that is alive while this, which refers to the cache of its statements, is."""

    __slots__ = ("address", "ident", "remembered")

    address: int
    ident: int  # of the thread that has made it
    remembered: Any


class _Threads:
    """The connections that the threads of one OS thread have made."""

    __slots__ = ("__weakref__", "connections", "ended", "found", "live", "native", "new")

    def __init__(self, found: _Found) -> None:
        self.found = found
        self.native = _native_get_ident()
        #: Those of each thread.  The lists are replaced, for they may be gone through meanwhile.
        self.connections: dict[int, list[_Connection]] = {}
        #: Those whose fields C may not have set yet, and those that have ended.  Any OS thread appends.
        self.new: list[_Connection] = []
        self.ended: list[_Connection] = []
        self.live = self.native

    def add(self, cache: Any, address: int) -> None:
        """A connection has been made by the calling thread."""
        known = _Connection(cache, self.ended.append)
        known.address = address
        # Without a hub there is one thread, which may stand for a green one elsewhere.
        known.ident = self.native if current_hub() is None else self._ident_of(getcurrent())
        self._sort()
        if not self.connections and not self.new:
            self.live = known.ident
        self.new.append(known)
        follow(self.switched)

    def _sort(self) -> None:
        new, self.new = self.new, []
        for known in new:
            alive = known()
            if alive is None:
                continue
            remembered = self.found.remembered(known.address)
            if not remembered.value:
                self.new.append(known)  # the switch is one in the middle of its making
            elif self.found.checked(known.address):
                known.remembered = remembered
                mine = self.connections.get(known.ident, [])
                self.connections[known.ident] = [*mine, known]
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
                alive = known()
                if alive is not None:
                    known.remembered.value = live | _ELSEWHERE
            for known in self.connections.get(ident, ()):
                alive = known()
                if alive is not None:
                    known.remembered.value = self.native
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
                alive = known()
                if alive is not None:
                    known.remembered.value = self.native
        self.connections = {}
        self.new = []


class _Found:
    """Where the C code of one module keeps what is needed of it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.here = _native_local()
        self.everybody: WeakSet[_Threads] = WeakSet()
        self._slot = _slot_of_cache(module)
        self._native = functools.lru_cache
        self._owned: Any = None
        self.made: list[Any] = []  # what is told of connections while this is found out
        self.told: Callable[[Any, Any], object] = lambda _, connection: self.made.append(connection)
        self._remembered = 0
        self._checked = 0

    # The fields of a connection.

    def remembered(self, address: int) -> Any:
        return ctypes.c_ulong.from_address(address + self._remembered)

    def checked(self, address: int) -> bool:
        return ctypes.c_int.from_address(address + self._checked).value != 0

    def _find_fields(self) -> None:
        connect = self.module.Connection
        size = connect.__basicsize__
        strict, lax = connect(":memory:"), connect(":memory:", check_same_thread=False)
        try:
            if [id(each) for each in self.made] != [id(strict), id(lax)]:
                raise NotFound("it does not tell of new connections")
            words = (ctypes.c_ulong * (size // ctypes.sizeof(ctypes.c_ulong))).from_address
            numbers = (ctypes.c_int * (size // ctypes.sizeof(ctypes.c_int))).from_address
            me = _native_get_ident()
            places = [index for index, word in enumerate(words(id(strict))) if word == me]
            pairs = enumerate(zip(numbers(id(strict)), numbers(id(lax)), strict=True))
            flags = [index for index, pair in pairs if pair == (1, 0)]
            if len(places) != 1 or len(flags) != 1:
                raise NotFound("an unknown layout of connections")
            self._remembered = places[0] * ctypes.sizeof(ctypes.c_ulong)
            self._checked = flags[0] * ctypes.sizeof(ctypes.c_int)
            self.remembered(id(strict)).value = me | _ELSEWHERE
            try:
                strict.cursor()
            except self.module.ProgrammingError as exc:
                if not _TEXT.match(str(exc)):
                    raise NotFound(f"an unknown refusal ({exc})") from exc
            else:
                raise NotFound("it does not look at the thread")
            finally:
                self.remembered(id(strict)).value = me
        finally:
            self.made.clear()
            strict.close()
            lax.close()

    # Being told of new connections.

    def begin(self) -> None:
        native = self._native

        def lru_cache(maxsize: Any) -> Any:
            make = native(maxsize)

            def of(connection: Any) -> Any:
                cache = make(connection)
                self.told(cache, connection)
                return cache

            return of

        self._owned = lru_cache
        # The module owns a reference to what stands there, and gives it up at its end.
        _in_c("Py_IncRef")(lru_cache)
        self._slot.value = id(lru_cache)
        try:
            self._find_fields()
        except BaseException:
            self.end()
            raise
        self.told = self._add

    def end(self) -> None:
        if self._slot.value == id(self._owned):
            self._slot.value = id(self._native)
            _in_c("Py_DecRef")(self._owned)
        for threads in tuple(self.everybody):
            threads.give_up()

    def _add(self, cache: Any, connection: Any) -> None:
        threads: _Threads | None = getattr(self.here, "threads", None)
        if threads is None:
            threads = self.here.threads = _Threads(self)
            self.everybody.add(threads)
        threads.add(cache, id(connection))

    def add_earlier(self) -> None:
        """Those that have been made on this OS thread before the patch are its first thread's."""
        cache_type: Any = type(functools.lru_cache(1)(len))
        me = _native_get_ident()
        for connection in gc.get_objects():
            if isinstance(connection, self.module.Connection):
                for cache in gc.get_referents(connection):
                    if type(cache) is cache_type and self.remembered(id(connection)).value == me:
                        self._add(cache, connection)

    # What the refusal says.

    def corrected(self, text: str) -> str:
        """The refusal with the identifiers of the green threads."""
        parts = _TEXT.fullmatch(text)
        if parts is None or int(parts[4]) != _native_get_ident():
            return text
        maker = int(parts[2])
        if maker & _ELSEWHERE:
            maker -= _ELSEWHERE
        else:
            # Asked from another OS thread, while the maker has its turn on its own.
            for threads in tuple(self.everybody):
                if threads.native == maker:
                    maker = threads.live
        return f"{parts[1]}{maker}{parts[3]}{get_ident()}{parts[5]}"


def _slot_of_cache(module: Any) -> Any:
    """Where `module` keeps `functools.lru_cache`, as a number that can be set."""
    get_state, get_def = _in_c("PyModule_GetState"), _in_c("PyModule_GetDef")
    get_state.restype = get_def.restype = ctypes.c_void_p
    state, definition = get_state(module), get_def(module)
    if not (state and definition):
        raise NotFound("it has no state")

    class Definition(ctypes.Structure):
        # The first fields of `PyModuleDef`, which the documentation shows.
        _fields_ = [
            ("head", ctypes.c_byte * object.__basicsize__),
            ("base", ctypes.c_void_p * 3),
            ("name", ctypes.c_char_p),
            ("doc", ctypes.c_char_p),
            ("size", ctypes.c_ssize_t),
        ]

    step = ctypes.sizeof(ctypes.c_size_t)
    places = range(state, state + max(Definition.from_address(definition).size, 0) - step + 1, step)
    slots = [ctypes.c_size_t.from_address(place) for place in places]
    found = [slot for slot in slots if slot.value == id(functools.lru_cache)]
    if len(found) != 1:
        raise NotFound("it makes no cache of statements with functools")
    return found[0]


def _in_c(name: str) -> Any:
    # Our own object of the function, for a program may declare types on the others.
    function: Any = ctypes.PyDLL(None)[name]
    function.argtypes = [ctypes.py_object]
    function.restype = None
    return function


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
    found = _Found(module)
    found.begin()
    error: Any = vars(module)["ProgrammingError"]

    def __init__(self: Any, *args: Any) -> None:
        if len(args) == 1 and type(args[0]) is str:
            args = (found.corrected(args[0]),)
        error.__base__.__init__(self, *args)

    error.__init__ = __init__
    if earlier:
        found.add_earlier()

    def take_back() -> None:
        found.end()
        if vars(error).get("__init__") is __init__:
            del error.__init__

    return take_back
