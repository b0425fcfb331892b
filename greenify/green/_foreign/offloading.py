"""`greenify.offload`: what the user knows to wait, or compute, in C runs on native threads.

For libraries that greenify has no patch for: one's own functions as a decorator, others' by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import update_wrapper
from operator import attrgetter
from types import BuiltinFunctionType
from typing import Any, TypeVar, overload

from greenify.green._copies.builtin import builtin_twin
from greenify.green._foreign.calls import hand_over, run_back
from greenify.green._foreign.own_thread import own_thread

__all__ = ["Offloaded", "offload"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def offload(function: F, /, *, thread_of: str | None = None) -> F: ...


@overload
def offload(*, thread_of: str | None = None) -> Callable[[F], F]: ...


def offload(function: Any = None, /, *, thread_of: str | None = None) -> Any:
    """Let the calls of `function` run on native threads, while the caller waits and all others go on.

        query = greenify.offload(library.query)

        class Connection(library.Connection):
            execute = greenify.offload(library.Connection.execute, thread_of="self")

            @greenify.offload(thread_of="self")
            def load(self, name): ...

    On its native thread a call sees the caller's context variables, thread-local data and identity, and holds
    the caller's re-entrant locks.  A handed-over call costs 4 to 30 us more.  Any thread may call; on an OS
    thread without green threads a call is a plain one, but for `thread_of`.

    Args:
        function: a function or method, of Python or of C.
        thread_of: for methods of objects that one call may use at a time (connections): whose native thread
            runs the call.  ``"self"`` gives each object one, made when first needed and ended with it;
            ``"self.connection"`` uses that of an object which it belongs to.  By default any native thread.

    Returns:
        A function that stands for it, with its name; without `function`, a decorator.  The caller of one
        with a `thread_of` stays until the call has ended, as a thread would, when it is killed or
        interrupted.  Otherwise it leaves, and the outcome is dropped.

    Raises:
        TypeError: `function` is a class, a coroutine function or a generator function, or cannot be called.
        ValueError: `thread_of` is neither ``"self"`` nor begins with ``"self."``.
    """
    owner = None if thread_of is None else _owner(thread_of)
    if function is None:
        return lambda function: _offloaded(function, owner)
    return _offloaded(function, owner)


def _owner(thread_of: str) -> Callable[[Any], Any]:
    first, _, rest = thread_of.partition(".")
    if first != "self" or not all(part.isidentifier() for part in rest.split(".") if rest):
        raise ValueError(
            f"thread_of is 'self', or leads from there to the object whose thread it is, "
            f"as 'self.connection'; not {thread_of!r}"
        )
    return attrgetter(rest) if rest else lambda self: self


def _offloaded(function: Any, owner: Callable[[Any], Any] | None) -> Any:
    if isinstance(function, staticmethod | classmethod):
        if owner is not None and isinstance(function, classmethod):
            raise TypeError("a class method has no object whose thread could run it")
        return type(function)(_offloaded(function.__func__, owner))
    _check(function)

    def offloaded(*args: Any, **kwargs: Any) -> Any:
        return hand_over(function, *args, **kwargs)

    def offloaded_method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        assert owner is not None
        return own_thread(owner(self)).call(function, self, *args, **kwargs)

    made = offloaded if owner is None else offloaded_method
    try:
        update_wrapper(made, function)
    except (AttributeError, TypeError):
        pass  # an object without the names of a function
    for name in dir(function):
        # What more such an object has: `cache_clear` of functools.lru_cache, methods of one with `__call__`.
        if not name.startswith("_") and not hasattr(made, name):
            setattr(made, name, getattr(function, name))
    if isinstance(function, BuiltinFunctionType) and owner is None:
        return builtin_twin(function, made)
    return made


def _check(function: Any) -> None:
    import inspect  # as costly as all of greenify

    what = getattr(function, "__qualname__", None) or repr(function)
    if isinstance(function, type):
        raise TypeError(
            f"{what} is a class: name its methods ('{what}.__init__' for what making one does)"
        )
    if not callable(function):
        raise TypeError(f"{what} cannot be called")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} is a coroutine function: its calls do nothing, awaiting them does")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{what} is a generator function: its calls do nothing, asking for items does. "
            "Offload what it calls"
        )


class Offloaded:
    """For classes of a library whose methods wait, or compute, in C: a base to put before the library's own.

        class Connection(greenify.Offloaded, library.Connection, methods=["query", "commit"]):
            def load(self, name, on_row):
                return self.query(name, self.run_back(on_row))

        class Cursor(greenify.Offloaded, library.Cursor, methods=["execute"], thread_of="self.connection"):
            pass

    The methods that are named, the class's own or inherited ones, run on the native thread of the object, as
    with `offload`.  A method without them does not; neither does a further class that overrides one and does
    not name it, until that calls ``super()``.

    Args:
        methods: their names.
        thread_of: as of `offload`.

    Raises:
        AttributeError: there is no such method.
        TypeError: as of `offload`.
    """

    __slots__ = ()

    #: Wraps a function that C code is going to call during a call of such a method: it then runs in the
    #: caller's thread, where it may wait, and use the object.
    run_back = staticmethod(run_back)

    def __init_subclass__(
        cls, methods: Iterable[str] = (), thread_of: str = "self", **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(methods, str):
            raise TypeError(f"methods takes names, as [{methods!r}]")
        for name in methods:
            for base in cls.__mro__:
                if name in vars(base):
                    setattr(cls, name, offload(vars(base)[name], thread_of=thread_of))
                    break
            else:
                raise AttributeError(f"{cls.__qualname__} has no method {name!r}")
