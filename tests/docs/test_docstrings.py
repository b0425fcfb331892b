"""Every public function, class and method says what it does, and says something of each of its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenify
from greenify import aio, files, futures, io, local, task, tracing, watching
from greenify import inspect as inspecting

# What no caller passes, and what a function only hands on.
HANDED_ON = {"self", "cls", "args", "kwargs", "exc_info"}

# Made by greenify itself, never by its users; so are the errors.
NOT_CALLED = {"Handle", "io.Stream", "io.TCPStream", "io.PipeStream"}


def public() -> Iterator[tuple[str, Any]]:
    """The public names, but for constants."""
    names = {name: getattr(greenify, name) for name in greenify.__all__}
    for room in (aio, files, futures, io, inspecting, tracing, watching):
        short = room.__name__.rpartition(".")[2]
        names |= {f"{short}.{name}": getattr(room, name) for name in room.__all__}
    names |= {"task.task": task.task, "local.local": local.local}
    for name, value in names.items():
        if callable(value):
            yield name, value


def functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """The public functions and classes, and the methods and properties of the classes."""
    for name, value in public():
        yield name, value
        if isinstance(value, type):
            for attribute, member in vars(value).items():
                if attribute.startswith("_"):
                    continue
                if isinstance(member, property):
                    member = member.fget
                elif isinstance(member, classmethod | staticmethod):
                    member = member.__func__
                # asyncio's own page explains what its loop is asked for.
                if inspect.isfunction(member) and value is not aio.EventLoop:
                    yield f"{name}.{attribute}", member


def missing(function: Callable[..., object]) -> list[str]:
    """The arguments that the docstring does not mention."""
    text = inspect.getdoc(function) or ""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # an exception, whose arguments nobody passes
        return []
    return [
        name
        for name in parameters
        if name not in HANDED_ON and not re.search(rf"\b{re.escape(name)}\b", text)
    ]


FUNCTIONS = dict(functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_says_what_it_does(name: str) -> None:
    function = FUNCTIONS[name]
    assert inspect.getdoc(function), f"{name} has no docstring"
    error = isinstance(function, type) and issubclass(function, Exception)
    if name not in NOT_CALLED and not error:
        assert missing(function) == [], f"{name}: not in its docstring"


def test_can_fail() -> None:
    def waits(item: object, timeout: float) -> None:
        """Put `item`."""

    assert missing(waits) == ["timeout"]


def test_finds_them() -> None:
    assert {"spawn", "Task.join", "Task.result", "Queue.get", "futures.wait"} <= FUNCTIONS.keys()
