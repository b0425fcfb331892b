"""What a thread waits for, as a record; and the table of the functions that wait.

A wait is recognised from outside, by the frames of whoever waits: each function of greenify's and of the
standard library's that waits has a *describer*, which makes a `Wait` of its local variables.  So nothing is
written down while a program runs, and nothing is paid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType, MappingProxyType
from typing import Any

from greenify.inspect.frames import Place, begins, frames_of, is_own, place_of

__all__ = [
    "ALONE",
    "BLIND",
    "LATER",
    "TABLE",
    "TIMED",
    "Context",
    "Describer",
    "Wait",
    "completed",
    "completes",
    "describes",
]

#: The text of a `Wait` that costs something and is seldom told: who has called knows more.
LATER = ""


_NO_FACTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True, init=False)
class Wait:
    """What somebody waits for.  Nobody changes it: it is not frozen because that takes twice as long to make.

    Attributes:
        kind: one word or two, the same for all waits of the kind: ``recv``, ``Lock``, ``sleep``.
        text: for people, in a line: ``recv 127.0.0.1:5432 (fd 7)``.
        until: the `time.monotonic` time at which the wait ends by itself, or None.
        place: the user's line, or None if there is none on the stack.
        facts: what the text is made of: ``fd``, ``peer``, ``owner``, ``pid``, ``host``, ...
        on: the object that is waited for: a lock, a queue, a socket.
    """

    kind: str
    text: str
    until: float | None
    place: Place | None
    facts: Mapping[str, Any]
    on: Any = field(repr=False, compare=False)

    def __init__(
        self,
        kind: str,
        text: str,
        until: float | None = None,
        place: Place | None = None,
        facts: Mapping[str, Any] = _NO_FACTS,
        on: Any = None,
    ) -> None:
        self.kind = kind
        self.text = text
        self.until = until
        self.place = place
        self.facts = facts
        self.on = on


# Modules whose lines say nothing about who waits.
_PRIMITIVES = frozenset({"threading", "queue", "socket", "ssl", "select", "selectors", "_pyio"})


class Context:
    """What a describer may ask for.

    Args:
        user: the innermost frame of the user's, or None.
        innermost: the innermost of all.
    """

    __slots__ = ("_innermost", "_place", "_user")

    def __init__(self, user: FrameType | None, innermost: FrameType | None) -> None:
        self._user = user
        self._innermost = innermost
        self._place: Place | None = None

    @property
    def place(self) -> Place | None:
        """The user's line."""
        if self._place is None and self._user is not None:
            self._place = place_of(self._user)
        return self._place

    @property
    def where(self) -> str:
        """The user's line in short, with a space before it; else the line that has called a primitive."""
        place = self.place
        if place is None:
            for frame in frames_of(self._innermost):
                if begins(frame):
                    break
                if not is_own(frame) and frame.f_globals.get("__name__") not in _PRIMITIVES:
                    place = place_of(frame)
                    break
        return "" if place is None else f" {place.short}"


#: Makes a `Wait` of the local variables of a function that waits and of the wait that has been recognised in
#: what it has called, if any; None to leave that one as it is.
Describer = Callable[[Mapping[str, Any], Wait | None, Context], Wait | None]

#: By module and name of the function.
TABLE: dict[tuple[str, str], Describer] = {}


#: Describers that look at no wait inside; those that want nothing of it but its end, and do without if their
#: own function has a variable ``deadline``; those that look at no variables.  None of this is made for them.
ALONE: set[Describer] = set()
TIMED: set[Describer] = set()
BLIND: set[Describer] = set()


def describes(
    module: str, *names: str, alone: bool = False, timed: bool = False, blind: bool = False
) -> Callable[[Describer], Describer]:
    """Decorator: the describer of the functions `names` of `module`.

    Args:
        alone: it tells the whole wait, whatever has been recognised inside.
        timed: it tells the whole wait if the function has a variable ``deadline``, the wait's end or None.
        blind: it does without the variables.
    """

    def add(describer: Describer) -> Describer:
        for name in names:
            assert (module, name) not in TABLE, f"{module}.{name} has two describers"
            TABLE[module, name] = describer
        if alone:
            ALONE.add(describer)
        if timed:
            TIMED.add(describer)
        if blind:
            BLIND.add(describer)
        return describer

    return add


_completers: dict[str, Callable[[Wait, Context], str]] = {}


def completes(
    *kinds: str,
) -> Callable[[Callable[[Wait, Context], str]], Callable[[Wait, Context], str]]:
    """Decorator: what makes the text of waits of these kinds whose text is `LATER`."""

    def add(function: Callable[[Wait, Context], str]) -> Callable[[Wait, Context], str]:
        for kind in kinds:
            _completers[kind] = function
        return function

    return add


def completed(wait: Wait, context: Context) -> Wait:
    """`wait`, with its text."""
    if wait.text is LATER:
        complete = _completers.get(wait.kind)
        if complete is not None:
            wait.text = complete(wait, context)
    return wait
