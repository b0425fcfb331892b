"""What is needed of the C code of `sqlite3` to follow connections: their fields, and who is told of new ones.

All of it is found out once, by looking where known values appear, and tried out.  Who is told gets, beside a
connection, an object that lives as long, for a connection takes no weak reference:

- From CPython 3.11 on each new connection makes the cache of its statements with `functools.lru_cache`.  A
  function in its place is told of every connection, of whatever class; the cache lives as long, for the two
  refer to each other.  A connection that is closed has given it up: it says that it is closed, whoever asks.
- CPython 3.10 has no such cache.  There ``__init__`` is replaced in the class itself, which has to be
  made mutable for that moment, and the object that lives as long lies among the connection's collations.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

# What `_thread` has natively: this is imported when the program imports sqlite3, after the patch.
from greenify.core.native import _get_ident as _native_get_ident
from greenify.green._copies.builtin import twin_of
from greenify.green._foreign.sqlite_sleep import NotFound

__all__ = ["ELSEWHERE", "Caches", "Fields", "Inits", "Told", "tell_of_connections"]

# What a connection remembers while another green thread runs: no thread has an odd identifier.
ELSEWHERE = 1

#: Called with a connection, what lives as long, and where it remembers its thread: None while C may not have
#: set that yet, which it has at the next switch.
Told = Callable[[Any, Any, Any], object]

_WORD = ctypes.sizeof(ctypes.c_ulong)


class Fields:
    """Where a connection remembers the thread that has made it, and whether C compares that."""

    def __init__(self, module: Any) -> None:
        connect = module.Connection
        size = connect.__basicsize__
        strict, lax = connect(":memory:"), connect(":memory:", check_same_thread=False)
        try:
            numbers = (ctypes.c_int * (size // ctypes.sizeof(ctypes.c_int))).from_address
            me = _native_get_ident()
            places = [index for index, word in enumerate(_words(strict, size)) if word == me]
            pairs = enumerate(zip(numbers(id(strict)), numbers(id(lax)), strict=True))
            flags = [index for index, pair in pairs if pair == (1, 0)]
            if len(places) != 1 or len(flags) != 1:
                raise NotFound("an unknown layout of connections")
            #: From the beginning of the object, in bytes.
            self.offset = places[0] * _WORD
            self._checked = flags[0] * ctypes.sizeof(ctypes.c_int)
            self.remembered(id(strict)).value = me | ELSEWHERE
            try:
                strict.cursor()
            except module.ProgrammingError:
                pass
            else:
                raise NotFound("it does not look at the thread")
            finally:
                self.remembered(id(strict)).value = me
        finally:
            strict.close()
            lax.close()

    def remembered(self, address: int) -> Any:
        return ctypes.c_ulong.from_address(address + self.offset)

    def checked(self, address: int) -> bool:
        return ctypes.c_int.from_address(address + self._checked).value != 0


class Caches:
    """From CPython 3.11 on: who is told is called by what stands in the place of `functools.lru_cache`."""

    def __init__(self, module: Any, told: Told) -> None:
        self._slot = _slot_of_cache(module)
        self._told = told
        self._native = native = functools.lru_cache

        def lru_cache(maxsize: Any) -> Any:
            make = native(maxsize)

            def of(connection: Any) -> Any:
                cache = make(connection)
                told(connection, cache, None)
                return cache

            return of

        self._owned = lru_cache
        # The module owns a reference to what stands there, and gives it up at its end.
        _in_c("Py_IncRef")(lru_cache)
        self._slot.value = id(lru_cache)

    def tell_of(self, connection: Any) -> None:
        """Of one that is there already."""
        cache_type: Any = type(functools.lru_cache(1)(len))
        for each in gc.get_referents(connection):
            if type(each) is cache_type:
                self._told(connection, each, None)

    def end(self) -> None:
        if self._slot.value == id(self._owned):
            self._slot.value = id(self._native)
            _in_c("Py_DecRef")(self._owned)


class _Life(ctypes.c_ulong):
    """The field of a connection that remembers its thread, owned by the connection itself."""


class Inits:
    """CPython 3.10: who is told is called by `Connection.__init__`."""

    def __init__(self, module: Any, told: Told, fields: Fields) -> None:
        self._fields = fields
        self._told = told
        self._class = module.Connection
        self._collations = self._find_collations()
        self._flags = _flags_of(self._class)
        self._native = native = vars(self._class)["__init__"]

        def __init__(connection: Any, /, *args: Any, **kwargs: Any) -> None:
            # Made anew, it is what makes it that counts.
            self._collations_of(connection).pop(_Life, None)
            native(connection, *args, **kwargs)
            self.tell_of(connection)

        self._owned = twin_of(native, __init__)
        self._set(self._owned)

    def _find_collations(self) -> int:
        connection = self._class(":memory:")
        try:
            found = [id(each) for each in gc.get_referents(connection) if type(each) is dict]
            words = list(_words(connection, self._class.__basicsize__))
            if len(found) != 1 or words.count(found[0]) != 1:
                raise NotFound("it keeps no collations")
            return words.index(found[0]) * _WORD
        finally:
            connection.close()

    def _collations_of(self, connection: Any) -> dict[Any, Any]:
        """What a connection keeps its collations in, which nobody sees; a new one has none yet."""
        place = id(connection) + self._collations
        if not ctypes.c_size_t.from_address(place).value:
            return {}
        place_of_object: Any = ctypes.py_object.from_address(place)
        found: dict[Any, Any] = place_of_object.value
        return found

    def _set(self, function: Any) -> None:
        # No other thread comes between reading the flags and setting them: neither calls anything.
        self._flags.value &= ~_IMMUTABLE
        try:
            self._class.__init__ = function
        finally:
            self._flags.value |= _IMMUTABLE

    def tell_of(self, connection: Any) -> None:
        """Of one that is there already."""
        address = id(connection)
        if self._fields.checked(address):
            life = _Life.from_address(address + self._fields.offset)
            self._collations_of(connection)[_Life] = life
            # A proxy looks whether the connection is alive and sets its field without anything in between.
            self._told(connection, life, weakref.proxy(life))

    def end(self) -> None:
        if vars(self._class)["__init__"] is self._owned:
            self._set(self._native)


# Py_TPFLAGS_IMMUTABLETYPE
_IMMUTABLE = 1 << 8


def _flags_of(kind: Any) -> Any:
    """The flags of a class, as a number that can be set."""
    # The 4th and the 21st field after what every object begins with, of `PyTypeObject` as of CPython 3.10.
    start = id(kind) + object.__basicsize__
    size = ctypes.c_ssize_t.from_address(start + 2 * _WORD)
    flags = ctypes.c_ulong.from_address(start + 19 * _WORD)
    if size.value != kind.__basicsize__ or flags.value != kind.__flags__:
        raise NotFound("an unknown layout of classes")
    if not flags.value & _IMMUTABLE:
        raise NotFound("a class that the program can change")
    return flags


def _words(connection: Any, size: int) -> Any:
    return (ctypes.c_ulong * (size // _WORD)).from_address(id(connection))


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


def tell_of_connections(module: Any, told: Told, fields: Fields) -> Caches | Inits:
    """Have `told` called with every connection of `module` that is made from now on, until `end()`.

    Raises:
        NotFound: this version does not show what is needed; nothing has been changed.
    """
    made: list[Any] = []

    def first_told(connection: Any, life: Any, remembered: Any) -> None:
        made.append(connection) if trying else told(connection, life, remembered)

    trying = True
    telling: Caches | Inits
    if sys.version_info >= (3, 11):
        telling = Caches(module, first_told)
    else:
        telling = Inits(module, first_told, fields)
    try:
        connection = module.Connection(":memory:")
        connection.close()
        if len(made) != 1 or made[0] is not connection:
            raise NotFound("it does not tell of new connections")
    except BaseException:
        telling.end()
        raise
    finally:
        made.clear()
    trying = False
    return telling
