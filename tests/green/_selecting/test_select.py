"""Arguments, results and errors of cooperative select and poll: those of the native ones."""

from __future__ import annotations

import os
import re
import resource
import select
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green
from tests.green._selecting.select_layers import (
    GREEN,
    LONG,
    File,
    Layer,
    both,
    outcome,
    pipe,
)


class Index:
    """An integer to the interpreter, but not an int."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def named(value: object) -> str:
    """Its repr without an address: every process that collects these tests gives them the same names."""
    return re.sub(r" at 0x\w+", "", repr(value))


BAD_TIMEOUTS: list[Any] = [
    "1",
    float("nan"),
    float("inf"),
    1e10,
    1e30,
    10**30,
    -(10**30),
    Decimal(1),
    Fraction(1, 2),
    object(),
    Index(10**20),
]


class TestErrors:
    """The twins refuse what the native calls refuse, in the same words.

    What one version refuses, another may take for a time of years: there is something to report at once.
    """

    @pytest.mark.parametrize("timeout", [*BAD_TIMEOUTS, -1, -0.5, -1e-12], ids=named)
    def test_select_timeout(self, timeout: Any) -> None:
        with pipe() as (r, w):
            os.write(w, b"x")
            expected = outcome(select.select, [r], [], [], timeout)
            assert outcome(green.select, [r], [], [], timeout) == expected

    @pytest.mark.parametrize(
        "timeout",
        [*BAD_TIMEOUTS, 2**31, -(2**31) - 1, 2147483647.5, 9223372036854, 9223372036855, -1e13],
        ids=named,
    )
    def test_poll_timeout(self, timeout: Any) -> None:
        with pipe() as (r, w):
            os.write(w, b"x")
            native, poll = select.poll(), green.poll()
            native.register(r)
            poll.register(r)
            assert outcome(poll.poll, timeout) == outcome(native.poll, timeout)

    @pytest.mark.parametrize("timeout", [*BAD_TIMEOUTS, 2147483.648, -2147483.65], ids=named)
    def test_epoll_timeout(self, timeout: Any) -> None:
        with pipe() as (r, w), select.epoll() as native, green.epoll() as epoll:
            os.write(w, b"x")
            native.register(r, select.EPOLLIN)
            epoll.register(r, select.EPOLLIN)
            assert outcome(epoll.poll, timeout) == outcome(native.poll, timeout)

    def test_what_every_version_refuses(self) -> None:
        for refused in ("1", float("nan"), 1e30, -1e30, object(), Index(10**20)):
            for call in (select.poll().poll, green.poll().poll):
                with pytest.raises((TypeError, ValueError, OverflowError)):
                    call(refused)  # type: ignore[arg-type]

    @pytest.mark.parametrize("position", range(3))
    @pytest.mark.parametrize(
        "fileobjs",
        [
            None,
            3,
            object(),
            [None],
            ["x"],
            [1.5],
            [File("x")],
            [File(None)],
            [File(-1)],
            [-1],
            [2000],
            [10**20],
            [resource.RLIM_INFINITY],
        ],
        ids=lambda fileobjs: f"{type(fileobjs).__name__} of {fileobjs!r:.20}",
    )
    def test_select_lists(self, fileobjs: Any, position: int) -> None:
        args: list[Any] = [[], [], [], 0]
        args[position] = fileobjs
        expected = outcome(select.select, *args)
        assert expected[0] is not type(None)
        for timeout in (0, 5, None):
            args[3] = timeout
            assert outcome(green.select, *args) == expected

    def test_select_arguments(self) -> None:
        for args in ([], [[]], [[], []], [[], [], [], 0, 0]):
            assert outcome(green.select, *args)[0] is outcome(select.select, *args)[0] is TypeError
        with pytest.raises(TypeError):
            green.select([], [], [], timeout=0)

    def test_closed_descriptor(self) -> None:
        r, w = os.pipe()
        os.close(r)
        os.close(w)
        for timeout in (0, 5, None):
            with pytest.raises(OSError, match="Bad file descriptor"):
                green.select([r], [], [], timeout)
            poll = green.poll()
            poll.register(r)
            assert poll.poll(timeout) == [(r, select.POLLNVAL)]

    def test_poll_objects(self) -> None:
        def script(poll: Any) -> list[Any]:
            with pipe() as (r, w):
                return [
                    outcome(poll.register),
                    outcome(poll.register, "x"),
                    outcome(poll.register, None),
                    outcome(poll.register, File(None)),
                    outcome(poll.register, -1),
                    outcome(poll.register, File(-1)),
                    outcome(poll.register, 10**20),
                    outcome(poll.register, r, -1),
                    outcome(poll.register, r, 2**16),
                    outcome(poll.register, r, 2**70),
                    outcome(poll.register, r, "x"),
                    outcome(poll.register, r, 1.0),
                    outcome(poll.register, r, 1, 1),
                    outcome(poll.modify, w, select.POLLOUT),
                    outcome(poll.modify, "x", select.POLLOUT),
                    outcome(poll.unregister, r),
                    outcome(poll.unregister, "x"),
                    outcome(poll.register, File(w), Index(select.POLLIN)),
                    outcome(poll.poll, Index(0)),
                    outcome(poll.modify, w, 2**16),
                    outcome(poll.modify, File(w), select.POLLOUT),
                    outcome(poll.poll, 0.5),
                    outcome(poll.unregister, File(w)),
                    outcome(poll.unregister, w),
                    outcome(poll.poll, 0),
                ]

        expected = script(select.poll())
        # Arguments in the wrong number are refused by Python code here, in other words.
        assert [kind for kind, _ in script(green.poll())] == [kind for kind, _ in expected]
        assert script(green.poll())[3:12] == [
            (TypeError, "argument must be an int, or have a fileno() method."),
            *expected[4:12],
        ]
        for kind in (green.poll(), select.poll()):
            with pytest.raises(TypeError, match="cannot create"):
                type(kind)()
        with pytest.raises(TypeError):
            green.poll(1)

    def test_constants(self) -> None:
        assert green.error is OSError
        for name in ("POLLIN", "POLLNVAL", "EPOLLET", "PIPE_BUF"):
            assert getattr(green, name) == getattr(select, name)
        with pytest.raises(AttributeError):
            green.no_such_constant  # noqa: B018


class TestSelectResults:
    @both
    def test_kinds_of_arguments(self, layer: Layer) -> None:
        with pipe() as (r, w):
            os.write(w, b"x")
            file = File(r)
            kinds: list[Any] = [list, tuple, iter, dict.fromkeys]
            for kind in kinds:
                for timeout in (0, LONG, None):
                    found = layer.select.select(kind([file, r]), {w}, kind([]), timeout)
                    assert found == ([file, r], [w], [])
                    assert found[0][0] is file

    @both
    def test_duplicates_and_waiting(self, layer: Layer) -> None:
        with pipe() as (r, w):
            file = File(r)
            join = layer.start(layer.select.select, (x for x in (file, r, file)), [], [r], LONG)
            os.write(w, b"x")
            assert join() == ([file, r, file], [], [])

    @both
    def test_lists_that_change(self, layer: Layer) -> None:
        with pipe() as (_, w):
            writers: list[Any] = []

            class Shrinking:
                def fileno(self) -> int:
                    del writers[-1]
                    return w

            writers[:] = [Shrinking() for _ in range(10)]
            assert layer.select.select([], writers, [], LONG) == ([], writers[:5], [])

    @both
    def test_regular_files_are_always_ready(self, layer: Layer) -> None:
        with open(__file__, "rb") as file, pipe() as (r, _):
            for timeout in (0, LONG, None):
                assert layer.select.select([file, r], [file], [file], timeout)[:2] == (
                    [file],
                    [file],
                )
            poll = layer.select.poll()
            poll.register(file, select.POLLIN)
            poll.register(r, select.POLLIN)
            assert poll.poll(None) == [(file.fileno(), select.POLLIN)]
            # Never exceptional: a wait for that only ends by time.
            start = time.monotonic()
            assert layer.select.select([], [], [file], 0.05) == ([], [], [])
            assert time.monotonic() - start >= 0.05

    @both
    def test_nothing_to_wait_for(self, layer: Layer) -> None:
        start = time.monotonic()
        assert layer.select.select([], [], [], 0.05) == ([], [], [])
        assert layer.select.poll().poll(50) == []
        assert layer.select.epoll().poll(0.05) == []
        assert time.monotonic() - start >= 0.15

    @both
    def test_as_a_class_attribute(self, layer: Layer) -> None:
        class Loop:
            choose = layer.select.select
            make = layer.select.poll

        assert Loop().choose([], [], [], 0) == ([], [], [])
        assert Loop().make().poll(0) == []

    @pytest.mark.parametrize("timeout", [Index(1), True, 1.0, 1], ids=named)
    def test_kinds_of_timeouts(self, timeout: Any) -> None:
        with pipe() as (r, w):
            join = GREEN.start(green.select, [r], [], [], timeout)
            os.write(w, b"x")
            assert join() == ([r], [], [])
            os.read(r, 1)
            poll = green.poll()
            poll.register(r)
            assert poll.poll(timeout) == []  # milliseconds

    def test_negative_timeouts_wait_for_ever(self) -> None:
        with pipe() as (r, w), green.epoll() as epoll:
            poll = green.poll()
            poll.register(r, select.POLLIN)
            epoll.register(r, select.EPOLLIN)
            joins = [
                GREEN.start(wait, timeout)
                for wait, timeout in (
                    (epoll.poll, -1),
                    (epoll.poll, -2147483.0),
                    (poll.poll, -0.5),
                )
            ]
            core.sleep(0.02)
            os.write(w, b"x")
            assert [join() for join in joins] == [[(r, 1)]] * 3
            assert epoll.poll(-1) == [(r, 1)]
            os.read(r, 1)
            # Zero, in milliseconds rounded up.
            assert epoll.poll(-0.0005) == []
