"""Descriptors that are closed, replaced and reused while they are waited for; threads; what is left."""

from __future__ import annotations

import gc
import os
import select
import socket
import threading
import time
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green
from greenify.green._selecting import interests
from greenify.task import spawn
from tests.green._selecting.select_layers import (
    GREEN,
    LONG,
    Layer,
    both,
    every_way,
    open_files,
    pipe,
    settle,
)


class TestDescriptorsComeAndGo:
    @both
    def test_closed_during_a_wait(self, layer: Layer) -> None:
        # The kernel does not wake anybody for that.
        r, w = os.pipe()
        poll = layer.select.poll()
        poll.register(r, select.POLLIN)
        epoll = layer.select.epoll()
        epoll.register(r, select.EPOLLIN)
        joins = [
            layer.start(poll.poll, 200),
            layer.start(epoll.poll, 0.2),
            layer.start(layer.select.select, [r], [], [], 0.2),
        ]
        (core.sleep if layer is GREEN else time.sleep)(0.05)
        os.close(r)
        polled, epolled, selected = [join() for join in joins]
        assert polled == [(r, select.POLLNVAL)]
        assert epolled == []
        if layer is GREEN:
            assert isinstance(selected, OSError) and "Bad file descriptor" in str(selected)
        else:
            assert selected[1:] == ([], [])  # whether it is readable depends on the kernel
        os.close(w)
        epoll.close()

    def test_object_closed_during_a_wait(self) -> None:
        left, right = socket.socketpair()
        with right:
            join = GREEN.start(green.select, [left], [], [], 0.05)
            left.close()
            found = join()
        assert isinstance(found, OSError) and "Bad file descriptor" in str(found)

    @every_way
    def test_number_reused_between_waits(self, way: Any) -> None:
        first, w = os.pipe()
        assert way(GREEN, first, 0.001) is False
        os.close(first)
        os.close(w)
        with pipe() as (r, w):
            assert r == first
            join = GREEN.start(way, GREEN, r, LONG)
            os.write(w, b"x")
            assert join() is True

    def test_number_reused_in_a_poll_object(self) -> None:
        poll = green.poll()
        first, w = os.pipe()
        poll.register(first, select.POLLIN)
        assert poll.poll(1) == []
        os.close(first)
        os.close(w)
        with pipe() as (r, w):
            join = GREEN.start(poll.poll)
            os.write(w, b"x")
            assert join() == [(r, select.POLLIN)]

    def test_the_former_file_of_a_number(self) -> None:
        # It lives on under another number, and the kernel keeps what was registered for it.
        with pipe() as (r, w):
            old = os.dup(r)
            assert green.select([old], [], [], 0.001) == ([], [], [])
            os.close(old)
            with pipe() as (fresh, fresh_w):
                assert fresh == old
                join = GREEN.start(green.select, [fresh], [], [])
                os.write(w, b"x")
                settle()
                os.read(r, 1)
                settle()
                os.write(fresh_w, b"y")
                assert join() == ([fresh], [], [])
                assert os.read(fresh, 1) == b"y"
                assert green.select([fresh], [], [], 0.01) == ([], [], [])
                os.write(w, b"x")
                assert green.select([fresh], [], [], 0.01) == ([], [], [])

    def test_the_same_file_returns_to_its_number(self) -> None:
        with pipe() as (r, w):
            copy = os.dup(r)
            assert green.select([r], [], [], 0.001) == ([], [], [])
            os.close(r)
            with pytest.raises(OSError):
                green.select([r], [], [], 0.001)
            os.dup2(copy, r)
            os.close(copy)
            join = GREEN.start(green.select, [r], [], [])
            os.write(w, b"x")
            assert join() == ([r], [], [])

    def test_no_descriptor_is_left(self) -> None:
        with pipe() as (r, w):
            green.select([r], [], [], 0.001)
            before = open_files()
            for _ in range(2000):
                green.select([r], [], [r], 0)
                poll = green.poll()
                poll.register(r, select.POLLIN)
                join = GREEN.start(poll.poll)
                os.write(w, b"x")
                join()
                with green.epoll() as epoll:
                    epoll.register(r, select.EPOLLIN)
                    assert epoll.poll()
                os.read(r, 1)
            assert open_files() == before

    def test_what_nobody_waits_for_wakes_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        switch = interests.Interests.switch

        def counting(self: interests.Interests) -> None:
            seen.append(self)
            switch(self)

        monkeypatch.setattr(interests.Interests, "switch", counting)
        with pipe() as (r, w), pipe() as (other, _):
            for _ in range(3):
                # Alone, and sharing the descriptor with somebody else.
                joins = [GREEN.start(green.select, [r, other], [], [], 0.001) for _ in range(2)]
                for join in joins:
                    join()
                del seen[:]
                for _ in range(20):
                    os.write(w, b"x")
                    settle()
                    os.read(r, 1)
                    settle()
                assert not seen
                # What came in the meantime does not hide what comes now.
                join = GREEN.start(green.select, [r, other], [], [])
                settle(20)
                assert len(seen) <= 3
                os.write(w, b"x")
                assert join() == ([r], [], [])
                os.read(r, 1)


class TestThreads:
    @every_way
    def test_without_a_hub(self, way: Any) -> None:
        with pipe() as (r, w):
            found: list[Any] = []

            def body() -> None:
                found.append(way(GREEN, r, 0.01))
                found.append(way(GREEN, r, 0))
                found.append(way(GREEN, r, LONG))
                found.append(core.current_hub())

            thread = threading.Thread(target=body)
            thread.start()
            while len(found) < 2:
                core.sleep(0.001)
            os.write(w, b"x")
            thread.join(LONG)
            assert found == [False, False, True, None]

    def test_with_hubs_of_their_own(self) -> None:
        def in_threads(function: Any, arguments: list[Any]) -> list[threading.Thread]:
            threads = [threading.Thread(target=function, args=args) for args in arguments]
            for thread in threads:
                thread.start()
            return threads

        def body_without() -> None:
            spawn(core.sleep, 0).join(LONG)

        before = open_files()
        for thread in in_threads(body_without, [()] * 9):
            thread.join(LONG)
        gc.collect()
        cost_of_hubs = open_files() - before
        shared = green.poll()
        with pipe() as (r, w), green.epoll() as epoll:
            shared.register(r, select.POLLIN)
            epoll.register(r, select.EPOLLIN)

            def body(started: Any, found: list[Any]) -> None:
                tasks = [
                    spawn(epoll.poll, LONG),
                    spawn(green.select, [r], [], [], LONG),
                    spawn(green.select, [r], [], [r], LONG),
                ]
                settle()
                started.release()
                for task in tasks:
                    task.join(LONG)
                    found.append(task.result)

            for _ in range(3):
                started = threading.Semaphore(0)
                results: list[list[Any]] = [[], [], []]
                threads = in_threads(body, [(started, result) for result in results])
                joins = [GREEN.start(epoll.poll, LONG), GREEN.start(shared.poll)]
                for _ in threads:
                    assert started.acquire(timeout=LONG)
                os.write(w, b"x")
                for thread in threads:
                    thread.join(LONG)
                assert [join() for join in joins] == [[(r, 1)], [(r, 1)]]
                assert results == [[[(r, 1)], ([r], [], []), ([r], [], [])]] * 3
                os.read(r, 1)
        gc.collect()
        assert open_files() - before == 2 * cost_of_hubs
