"""What can be turned on beside the patches, from outside of the program: a table.

Each row has an option of the launcher (``--watch=0.1``) and a variable of the environment
(``GREENIFY_WATCH=0.1``), which works wherever a program calls `greenify.patch_all` without the launcher:
under gunicorn and celery.  `patch_all` turns on what is asked for, once in a process; a module is imported
only then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from greenify.errors import PatchError

if TYPE_CHECKING:
    import signal

__all__ = ["FEATURES", "Feature", "ask", "turn_on", "value", "wanted"]


def seconds(text: str) -> float:
    """A positive number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("that is no positive number of seconds")
    return number


def file_name(text: str) -> str:
    """Any text but none."""
    if not text:
        raise ValueError("that is no name of a file")
    return text


def signal_number(text: str) -> signal.Signals:
    """The name of a signal, with or without SIG in front, or its number."""
    # Not at the top: the launcher reads its options before the program's folder has left sys.path.
    import signal

    try:
        if text.isdecimal():
            number = signal.Signals(int(text))
        else:
            name = text.upper()
            number = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise ValueError("there is no such signal") from None
    if number in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError("no process is told of that signal: take another one, as USR1")
    return number


def switch(text: str) -> bool:
    """What says no more than that something is to be on."""
    if text != "1":
        raise ValueError("1 turns it on")
    return True


@dataclass(frozen=True)
class Feature:
    """One thing that can be turned on.

    Attributes:
        option: the launcher's option, without its dashes.
        read: makes a value of a text; ValueError says what is wrong with it.
        function: what turns it on, as ``"package.module:function"``, called with the value; none for
            an option that another feature asks for (`value`).
        metavar: what the value is called in the help; none for an option without a value.
        default: the text that stands for an option without a value; if there is none, a value is needed.
        help: what it does, in lines of at most 60 characters.
    """

    option: str
    read: Callable[[str], Any]
    function: str | None
    metavar: str | None
    default: str | None
    help: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The variable in the environment."""
        return "GREENIFY_" + self.option.upper().replace("-", "_")

    @property
    def usage(self) -> str:
        """The option with its value, as the help shows it."""
        if self.metavar is None:
            return f"--{self.option}"
        return (
            f"--{self.option} {self.metavar}"
            if self.default is None
            else (f"--{self.option}[={self.metavar}]")
        )


_ROWS: tuple[Feature, ...] = (
    Feature(
        "watch",
        seconds,
        "greenify.watching:turn_on",
        "SECONDS",
        "0.1",
        ("report who keeps the others waiting for longer (0.1)",),
    ),
    Feature(
        "trace",
        file_name,
        "greenify.tracing.turned_on:begin",
        "FILE",
        None,
        ("draw a picture of time: who ran, was ready, waited for what,", "in Perfetto's format"),
    ),
    Feature(
        "trace-last",
        seconds,
        "greenify.tracing.turned_on:check",
        "SECONDS",
        None,
        (
            "keep as much of it in memory, and write it at the end,",
            "on a signal, and when the watch reports",
        ),
    ),
    Feature(
        "trace-on",
        signal_number,
        "greenify.tracing.turned_on:check",
        "SIGNAL",
        None,
        ("the signal that writes it, as USR1",),
    ),
    Feature(
        "inspect",
        switch,
        "greenify.inspect.switches:inspect",
        None,
        "1",
        ("let this user ask who waits for what (ps, top)",),
    ),
    Feature(
        "dump-on",
        signal_number,
        "greenify.inspect.switches:dump_on",
        "SIGNAL",
        None,
        ("print who waits for what when the signal comes",),
    ),
)

#: By the names of their options.
FEATURES: dict[str, Feature] = {row.option: row for row in _ROWS}

_asked: dict[str, str] = {}  # by the launcher's options, which go before the environment
_on: dict[str, Any] = {}


def ask(texts: Mapping[str, str]) -> None:
    """Have `turn_on` turn on the features of these options, with these texts as their values."""
    _asked.update(texts)


def wanted() -> dict[str, Any]:
    """The features that are asked for, by options or by the environment, with their values.

    An empty variable asks for nothing; neither does 0.

    Raises:
        PatchError: a value is wrong; the message says where it stands.
    """
    found = {}
    for name, feature in FEATURES.items():
        text = _asked.get(name)
        origin = f"--{name}"
        if text is None:
            text = os.environ.get(feature.variable, "")
            origin = feature.variable
            if text in ("", "0"):
                continue
        try:
            found[name] = feature.read(text)
        except ValueError as exc:
            raise PatchError(f"{origin}={text}: {exc}") from None
    return found


def turn_on(values: Mapping[str, Any]) -> None:
    """Turn on what is not on yet of the features that `wanted` has found."""
    fresh = {name: value for name, value in values.items() if name not in _on}
    # All of them first: one may ask for the value of another.
    _on.update(fresh)
    for name, value in fresh.items():
        place = FEATURES[name].function
        if place is not None:
            module, _, function = place.partition(":")
            getattr(import_module(module), function)(value)


def value(name: str) -> Any:
    """The value of the feature `name` if that has been turned on, else None."""
    return _on.get(name)
