"""Cooperative epoll: the object, its events, and many users of one."""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green
from greenify.green._selecting import kernel_queues
from greenify.task import spawn
from tests.green._selecting.select_layers import (
    GREEN,
    LONG,
    File,
    Layer,
    both,
    every_way,
    open_files,
    outcome,
    pipe,
    settle,
)

ET = select.EPOLLET
ONESHOT = select.EPOLLONESHOT


def closing_a_dead_one() -> AbstractContextManager[object]:
    """What closing a queue gives whose descriptor has been closed: an error from CPython 3.15 on."""
    if sys.version_info >= (3, 15):
        return pytest.raises(OSError, match="Bad file descriptor")
    return nullcontext()


class TestObject:
    def test_errors(self) -> None:
        def script(kind: Any) -> list[Any]:
            epoll = kind()
            with pipe() as (r, _):
                found = [
                    outcome(kind, 1, 2, 3),
                    outcome(kind, "x"),
                    outcome(kind, None),
                    outcome(kind, -2),
                    outcome(kind, 0),
                    outcome(kind, -1, 12356),
                    outcome(epoll.register, "x"),
                    outcome(epoll.register, -1),
                    outcome(epoll.register, r, "x"),
                    outcome(epoll.register, r),
                    outcome(epoll.register, r),
                    outcome(epoll.modify, r, select.EPOLLIN),
                    outcome(epoll.unregister, File(r)),
                    outcome(epoll.unregister, r),
                    outcome(epoll.modify, r, select.EPOLLIN),
                    outcome(epoll.poll, 0, 0),
                    outcome(epoll.poll, 0, -2),
                    outcome(epoll.poll, None, 0),
                    outcome(epoll.poll, 0, "x"),
                    outcome(epoll.poll, 0, 1),
                ]
            with open(__file__) as file:
                found.append(outcome(epoll.register, file))
            epoll.close()
            epoll.close()
            for name, args in (
                ("fileno", ()),
                ("register", (0,)),
                ("modify", (0, 1)),
                ("unregister", (0,)),
                ("poll", ()),
                ("poll", (0,)),
                ("poll", (5.0,)),
                ("__enter__", ()),
            ):
                found.append(outcome(getattr(epoll, name), *args))
            assert epoll.closed
            return found

        native, twin = script(select.epoll), script(green.epoll)
        assert native[0][0] is twin[0][0] is TypeError
        assert twin[4][0] is native[4][0]
        assert twin[5:] == native[5:]
        assert twin[1:4] == native[1:4]

    @both
    def test_with(self, layer: Layer) -> None:
        with layer.select.epoll(sizehint=10, flags=0) as epoll:
            assert epoll.fileno() > 0
            assert not epoll.closed
            assert not os.get_inheritable(epoll.fileno())
        assert epoll.closed

    @both
    def test_fromfd(self, layer: Layer) -> None:
        with pipe() as (r, w):
            epoll = layer.select.epoll()
            epoll.register(fd=r, eventmask=select.EPOLLIN)
            second = layer.select.epoll.fromfd(epoll.fileno())
            joins = [layer.start(queue.poll, LONG) for queue in (epoll, second)]
            os.write(w, b"x")
            assert [join() for join in joins] == [[(r, 1)], [(r, 1)]]
            assert second.fileno() == epoll.fileno()
            second.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                epoll.poll(timeout=LONG, maxevents=1)
            with closing_a_dead_one():
                epoll.close()

    @both
    def test_collected(self, layer: Layer) -> None:
        with pipe() as (r, _):
            before = open_files()
            for _ in range(50):
                epoll = layer.select.epoll()
                epoll.register(r, select.EPOLLIN)
                assert epoll.poll(0.0001) == []
                fd = epoll.fileno()
                del epoll
            gc.collect()
            assert open_files() == before
            assert fd not in core.get_hub().descriptors.by_fd


class TestEvents:
    @both
    def test_edge_triggered(self, layer: Layer) -> None:
        with pipe() as (r, w), layer.select.epoll() as epoll:
            epoll.register(r, select.EPOLLIN | ET)
            for _ in range(3):
                join = layer.start(epoll.poll, LONG)
                os.write(w, b"x")
                assert join() == [(r, select.EPOLLIN)]
                assert epoll.poll(0.01) == []

    @both
    def test_one_shot(self, layer: Layer) -> None:
        with pipe() as (r, w), layer.select.epoll() as epoll:
            epoll.register(r, select.EPOLLIN | ONESHOT)
            os.write(w, b"x")
            assert epoll.poll() == [(r, select.EPOLLIN)]
            os.write(w, b"x")
            assert epoll.poll(0.01) == []
            join = layer.start(epoll.poll, LONG)
            epoll.modify(r, select.EPOLLIN | ONESHOT)
            assert join() == [(r, select.EPOLLIN)]

    @both
    def test_registered_during_a_wait(self, layer: Layer) -> None:
        with pipe() as (r, w), layer.select.epoll() as epoll:
            join = layer.start(epoll.poll)
            os.write(w, b"x")
            epoll.register(r, select.EPOLLIN)
            assert join() == [(r, select.EPOLLIN)]
            epoll.unregister(r)
            assert epoll.poll(0.001) == []
            join = layer.start(epoll.poll, LONG)
            epoll.register(w, select.EPOLLOUT)
            assert join() == [(w, select.EPOLLOUT)]

    @both
    def test_maxevents(self, layer: Layer) -> None:
        with pipe() as (r, w), layer.select.epoll() as epoll:
            copies = [os.dup(r) for _ in range(10)]
            for copy in copies:
                epoll.register(copy, select.EPOLLIN | ET)
            joins = [layer.start(epoll.poll, LONG, 1) for _ in range(10)]
            os.write(w, b"x")
            assert sorted(join() for join in joins) == [[(copy, 1)] for copy in copies]
            assert epoll.poll(0) == []
            for copy in copies:
                os.close(copy)

    def test_others_run_and_time_goes_on(self) -> None:
        left, right = socket.socketpair()
        with left, right, green.epoll() as epoll:
            epoll.register(left, select.EPOLLIN)
            ticks = []

            def tick() -> None:
                for _ in range(5):
                    core.sleep(0.002)
                    ticks.append(1)
                right.send(b"x")

            spawn(tick)
            start = time.monotonic()
            assert epoll.poll() == [(left.fileno(), select.EPOLLIN)]
            assert len(ticks) == 5
            assert time.monotonic() - start >= 0.01


class TestManyUsers:
    def test_closed_during_a_wait(self) -> None:
        with pipe() as (r, w):
            epoll = green.epoll()
            epoll.register(r, select.EPOLLIN)
            joins = [GREEN.start(epoll.poll, LONG), GREEN.start(epoll.poll)]
            epoll.close()
            os.write(w, b"x")
            assert [join() for join in joins] == [[(r, select.EPOLLIN)]] * 2

    def test_number_closed_and_reused(self) -> None:
        with pipe() as (r, w):
            epoll = green.epoll()
            assert epoll.poll(0.001) == []
            fd = epoll.fileno()
            os.close(fd)
            with green.epoll() as second:
                assert second.fileno() == fd
                second.register(r, select.EPOLLIN)
                join = GREEN.start(second.poll, LONG)
                os.write(w, b"x")
                assert join() == [(r, select.EPOLLIN)]
            with pytest.raises(OSError, match="Bad file descriptor"):
                epoll.poll(LONG)
            with closing_a_dead_one():
                epoll.close()

    @every_way
    @both
    def test_nested(self, layer: Layer, way: Any) -> None:
        with pipe() as (r, w), layer.select.epoll() as inner, layer.select.epoll() as middle:
            inner.register(r, select.EPOLLIN)
            middle.register(inner, select.EPOLLIN)
            for epoll in (inner, middle):
                assert way(layer, epoll, 0) is False
                assert way(layer, epoll, 0.01) is False
                join = layer.start(way, layer, epoll, LONG)
                os.write(w, b"x")
                assert join() is True
                os.read(r, 1)

    @every_way
    @both
    def test_nested_as_deep_as_the_kernel_allows(self, layer: Layer, way: Any) -> None:
        # With our own queue around it the chain is too long for the kernel.
        with pipe() as (r, w):
            chain = [layer.select.epoll() for _ in range(4)]
            chain[0].register(r, select.EPOLLIN)
            for inner, outer in pairwise(chain):
                outer.register(inner, select.EPOLLIN)
            assert way(layer, chain[-1], 0.01) is False
            join = layer.start(way, layer, chain[-1], LONG)
            os.write(w, b"x")
            assert join() is True
            for epoll in chain:
                epoll.close()

    def test_adopted(self) -> None:
        with pipe() as (r, w):
            native = select.epoll()
            native.register(r, select.EPOLLIN)
            twin = kernel_queues.epoll._adopt(native)
            join = GREEN.start(twin.poll, LONG)
            settle()
            os.write(w, b"x")
            assert join() == [(r, select.EPOLLIN)]
            twin.close()
            assert native.closed
