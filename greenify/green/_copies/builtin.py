"""Twins that pass for what they stand for: under its names, with its documentation, signature and behaviour.

Programs ask: trio for the module of a lock's class, serialisers for a function's name, `inspect` for a
signature, which most of C's functions do not have.  A Python function that is stored in a class becomes a
method, a C function does not, and programs rely on it (``class Clock: sleep = time.sleep``).  A Python
function also has a ``__dict__``, which serialisers take for the state of an object.

Three forms:

- `BuiltinTwin`, an object in the place of a C function.
- `bound_twin`, a bound method, for those C functions that are called all the time or waited in.
- A copy of a Python function (`twin_of`) in the place of a Python function or of a method written in C.

No twin holds a reference to the native function: late patching would rewrite it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from importlib import import_module
from types import CodeType, FunctionType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import Any, TypeVar, cast

__all__ = ["BuiltinTwin", "Home", "bound_twin", "builtin_twin", "stands_for", "twin_of"]

Kind = TypeVar("Kind", bound=type)

_BUILTIN = type(len)

# Py_TPFLAGS_BASETYPE
_BASE_TYPE = 1 << 10

_OF_CLASSES = (MethodDescriptorType, WrapperDescriptorType)


class BuiltinTwin:
    """A callable in the place of the C function `native`, under its name; calls `function`.

    Args:
        shown: its `repr`, for one that is no module's function; by default that of `native`.
        module: where it can be found by name, if that is not the module of `native`.
    """

    __slots__ = ("__self__", "__weakref__", "_function", "_names")

    def __new__(
        cls,
        native: Any,
        function: Callable[..., Any],
        shown: str = "",
        module: str | None = None,
    ) -> BuiltinTwin:
        # A class of its own, for its documentation and its module are looked up there, and so is what it
        # calls, without a frame in between.  Errors name the class.
        body = {
            "__slots__": (),
            "__doc__": native.__doc__,
            "__module__": module or getattr(native, "__module__", None),
            "__call__": staticmethod(function),
        }
        made: BuiltinTwin = object.__new__(type(_BUILTIN.__name__, (cls,), body))
        return made

    def __init__(
        self,
        native: Any,
        function: Callable[..., Any],
        shown: str = "",
        module: str | None = None,
    ) -> None:
        self._names = {
            "repr": shown or repr(native),
            **{
                name: getattr(native, name)
                for name in ("__name__", "__qualname__", "__text_signature__")
            },
        }
        self.__self__ = None if shown else native.__self__
        self._function = function

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # For isinstance, and for `inspect`, which then reads the signature as it does C's.
        return _BUILTIN

    def __getattr__(self, name: str) -> Any:
        if name != "_names" and name in self._names:
            return self._names[name]
        raise AttributeError(f"{_BUILTIN.__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return str(self._names["repr"])

    def __reduce__(self) -> Any:
        # By name, as every function.
        name: str = self._names["__qualname__"]
        if self.__self__ is None:
            # Only a copy by value of what it describes asks for this.
            return str, (self._names["repr"],)
        return name


class Home:
    """What the twin of a module's C function is bound to: stands for the module, which cannot be pickled."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<module {self._name!r}>"

    def __getattr__(self, name: str) -> Any:
        # `copy.copy` of a method looks it up.
        return getattr(import_module(self._name), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self._name,)

    def __deepcopy__(self, memo: object) -> Home:
        return self


def bound_twin(native: Any, function: Callable[..., Any]) -> MethodType:
    """The twin of a C function that is called all the time, or waited in: `function`, bound to its module.

    A bound method does not bind again, and the interpreter enters it without a C function in between, which
    would cost its call and, at every switch, the copying of its C stack (`time.sleep(0)`: 0.78 instead of
    0.62 us, 2,744 bytes of stack instead of 1,992).

    cloudpickle and dill take a function that is no attribute of its module by value, and load it where there
    may be no greenify.  So the function's names are in no globals, which they would take along, but among its
    builtins; and the copy, to which they are unknown, has to go by its first argument.

    Args:
        native: the C function, whose names, documentation and signature the twin has.
        function: takes the module as its first argument.  It handles the NameError that a copy meets at its
            first line, by calling the module's own function, and must not assign to its globals.
    """
    made = _renamed(_apart(function), native, native.__module__)
    return MethodType(made, Home(native.__module__))


def _apart(function: Any) -> FunctionType:
    """`function` again, with the names that it uses in a private copy of the builtins."""
    names = function.__globals__
    used = {name: names[name] for name in _used(function.__code__) if name in names}
    own: dict[str, Any] = {
        "__name__": names["__name__"],
        "__builtins__": {**vars(builtins), **used},
    }
    made = FunctionType(function.__code__, own, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    del own["__builtins__"]
    return made


def _used(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_used, inner))


def _renamed(function: FunctionType, native: Any, module: str | None) -> FunctionType:
    """Give `function` the names of `native`; and its signature, if `native` is written in C."""
    for name in ("__name__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(native, name))
    function.__module__ = module  # type: ignore[assignment]
    if isinstance(native, FunctionType):
        function.__annotations__ = dict(native.__annotations__)
    else:
        function.__annotations__ = {}
        function.__text_signature__ = native.__text_signature__  # type: ignore[attr-defined]
        # `inspect` asks what a function wraps for the signature.  And xmlrpc.client, which sends whatever has
        # a __dict__ as a structure, finds something in it that it cannot send.
        vars(function)["__wrapped__"] = BuiltinTwin(native, function, repr(native))
    return function


def _copied(function: FunctionType) -> FunctionType:
    made = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    vars(made).update(vars(function))
    return made


# Twins that have been made, by the names of what they stand for and the function: one for all places.
_made: dict[tuple[Any, str, int], tuple[Any, Any]] = {}


def twin_of(native: Any, function: Any, module: str | None = None) -> Any:
    """`function` as it should stand in the place of `native`: the same object for the same two.

    Args:
        native: what is in the place now, as it is stored there.
        function: a Python function, or a class if C has a function that makes its instances.  All else is
            returned as it is.
        module: the module that is patched, or the one of the class.
    """
    if isinstance(native, _BUILTIN):
        if not isinstance(function, FunctionType | type):
            return function
        if native.__module__ != f"_{module}":
            module = native.__module__
        # else that of C keeps its own, and is no place to look for the twin by name.
    elif isinstance(native, FunctionType):
        if not isinstance(function, FunctionType):
            return function
        module = native.__module__
    elif not isinstance(native, _OF_CLASSES) or not isinstance(function, FunctionType):
        return function
    elif native.__objclass__ is object:
        return function  # the class has no such method itself
    key = (module, native.__qualname__, id(function))
    if key not in _made:
        if isinstance(native, _BUILTIN):
            twin: Any = BuiltinTwin(native, function, module=module)
        else:
            twin = _renamed(_copied(function), native, module)
        _made[key] = function, twin
    return _made[key][1]


def builtin_twin(native: Any, function: Any) -> Any:
    """`function` as it should stand in the place of `native`: wrapped only if that is a C function."""
    return twin_of(native, function) if isinstance(native, _BUILTIN) else function


def stands_for(native: type | None) -> Callable[[Kind], Kind]:
    """A decorator that gives a class, made to stand for the C class `native`, its names and its methods'.

    None leaves it as it is: this Python does not have that class.

    Methods that it inherits are copied for that, so that their own class stays what it is.
    """

    def dress(twin: Kind) -> Kind:
        if native is None:
            return twin
        # Of `type`, for a class may refuse.
        assign = type.__setattr__
        assign(twin, "_greenify_name", f"{twin.__module__}.{twin.__qualname__}")
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            assign(twin, name, getattr(native, name))
        for name, method in vars(native).items():
            own = _lookup(twin, name)
            if isinstance(method, _OF_CLASSES) and isinstance(own, FunctionType):
                assign(twin, name, _renamed(_copied(own), method, native.__module__))
            elif isinstance(own, property):
                assign(twin, name, property(own.fget, own.fset, own.fdel, method.__doc__))
            elif isinstance(own, classmethod):
                made = _renamed(_copied(cast(Any, own.__func__)), method, native.__module__)
                assign(twin, name, classmethod(made))
        if not native.__flags__ & _BASE_TYPE:
            assign(twin, "__init_subclass__", classmethod(_refuse_subclass))
        for name in ("__new__", "__init__"):
            stored = _lookup(twin, name)
            function: object = stored.__func__ if isinstance(stored, staticmethod) else stored
            if isinstance(function, FunctionType):
                maker = _copied(function)
                vars(maker)["__wrapped__"] = _Maker(native, maker)
                assign(twin, name, staticmethod(maker) if name == "__new__" else maker)
        return twin

    return dress


def _refuse_subclass(cls: type) -> None:
    base = cls.__mro__[1]
    raise TypeError(f"type '{base.__module__}.{base.__name__}' is not an acceptable base type")


class _Maker(BuiltinTwin):
    """What the constructor of a class "wraps", for the signature of the class."""

    __slots__ = ()

    def __init__(self, native: Any, function: Callable[..., Any]) -> None:
        text = native.__text_signature__
        if native.__new__ is object.__new__ and native.__init__ is object.__init__:
            text = "()"
        first = "($self" if text == "()" else "($self, "
        self._names = {
            "repr": f"type {native!r}",
            "__name__": native.__name__,
            "__qualname__": native.__qualname__,
            "__text_signature__": text and first + text[1:],
        }
        self.__self__ = None
        self._function = function


def _lookup(owner: type, name: str) -> Any:
    for base in owner.__mro__[:-1]:
        if name in vars(base):
            return vars(base)[name]
    return None
