"""Waiting in every way there is: select, poll, epoll and the selectors, alone and several at once."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green
from greenify.task import spawn
from tests.green._selecting.select_layers import (
    GREEN,
    LONG,
    NATIVE,
    File,
    Layer,
    both,
    every_way,
    outcome,
    pipe,
    settle,
    tcp_pair,
)


class TestWaiting:
    @every_way
    @both
    def test_woken_by_an_event(self, layer: Layer, way: Any) -> None:
        with pipe() as (r, w):
            for timeout in (LONG, None):
                join = layer.start(way, layer, r, timeout)
                os.write(w, b"x")
                assert join() is True
                assert way(layer, File(r), timeout) is True
                os.read(r, 1)

    @every_way
    @both
    def test_time_out(self, layer: Layer, way: Any) -> None:
        with pipe() as (r, w):
            start = time.monotonic()
            assert way(layer, r, 0.03) is False
            assert time.monotonic() - start >= 0.03
            assert way(layer, r, 0) is False
            os.write(w, b"x")
            assert way(layer, r, 0) is True

    @every_way
    def test_others_run_meanwhile(self, way: Any) -> None:
        with pipe() as (r, w), pipe() as (back_r, back_w):
            rounds = 50

            def answer() -> None:
                for _ in range(rounds):
                    assert way(GREEN, r, LONG)
                    os.write(back_w, os.read(r, 1))

            join = GREEN.start(answer)
            for _ in range(rounds):
                os.write(w, b"x")
                assert way(GREEN, back_r, LONG)
                os.read(back_r, 1)
            assert join() is None

    @every_way
    def test_a_polling_loop_lets_others_run(self, way: Any) -> None:
        with pipe() as (r, w):
            steps = []

            def other() -> None:
                for step in range(5):
                    steps.append(step)
                    core.sleep(0)
                os.write(w, b"x")

            spawn(other)
            while not way(GREEN, r, 0):
                assert len(steps) <= 5
            assert steps == list(range(5))

    @every_way
    @both
    def test_several_threads_on_one_descriptor(self, layer: Layer, way: Any) -> None:
        with pipe() as (r, w):
            joins = [layer.start(way, layer, r, LONG) for _ in range(5)]
            impatient = layer.start(way, layer, r, 0.01)
            assert impatient() is False
            os.write(w, b"x")
            assert [join() for join in joins] == [True] * 5

    @both
    def test_reader_and_writer_of_one_descriptor(self, layer: Layer) -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            filled = 0
            while select.select([], [left], [], 0)[1]:
                filled += left.send(bytes(65536))
            poll = layer.select.poll()
            poll.register(left)
            reader = layer.start(layer.select.select, [left], [], [], LONG)
            writer = layer.start(layer.select.select, [], [left], [], LONG)
            either = layer.start(layer.select.select, [left], [left], [left], LONG)
            poller = layer.start(poll.poll, LONG * 1000)
            while filled:
                filled -= len(right.recv(filled))
            assert writer() == ([], [left], [])
            assert either() == ([], [left], [])
            assert poller() == [(left.fileno(), select.POLLOUT)]
            right.send(b"x")
            assert reader() == ([left], [], [])

    def test_several_descriptors(self) -> None:
        pairs = [os.pipe() for _ in range(20)]
        try:
            poll = green.poll()
            readers = [r for r, _ in pairs]
            for r in readers:
                poll.register(r, select.POLLIN)
            selecting = GREEN.start(green.select, readers, [], [])
            polling = GREEN.start(poll.poll)
            for _, w in pairs[15:9:-1]:
                os.write(w, b"x")
            assert selecting() == (readers[10:16], [], [])
            assert polling() == [(r, select.POLLIN) for r in readers[10:16]]
        finally:
            for pair in pairs:
                os.close(pair[0])
                os.close(pair[1])

    @pytest.mark.parametrize("files", ["many files", "one file"])
    @both
    def test_two_thousand_descriptors(self, layer: Layer, files: str) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
        numbers: list[int] = []
        try:
            with pipe() as (r, w), pipe() as (other, _):
                for _ in range(2000):
                    numbers.append(os.eventfd(0) if files == "many files" else os.dup(other))
                poll = layer.select.poll()
                for fd in numbers:
                    poll.register(fd, select.POLLIN)
                poll.register(r, select.POLLIN)
                for _ in range(3):
                    join = layer.start(poll.poll, LONG * 1000)
                    os.write(w, b"x")
                    assert join() == [(r, select.POLLIN)]
                    os.read(r, 1)
                assert poll.poll(1) == []
                with pytest.raises(ValueError, match="out of range"):
                    layer.select.select([max(numbers)], [], [], LONG)
        finally:
            for fd in numbers:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @both
    def test_urgent_data(self, layer: Layer) -> None:
        with tcp_pair() as (left, right):
            poll = layer.select.poll()
            poll.register(left, select.POLLPRI)
            for _ in range(2):
                reading = layer.start(layer.select.select, [left], [], [], 0.05)
                exceptional = layer.start(layer.select.select, [], [], [left], LONG)
                all_three = layer.start(layer.select.select, [left], [], [left], LONG)
                polling = layer.start(poll.poll, LONG * 1000)
                right.send(b"!", socket.MSG_OOB)
                assert exceptional() == ([], [], [left])
                assert all_three() == ([], [], [left])
                assert polling() == [(left.fileno(), select.POLLPRI)]
                assert reading() == ([], [], [])
                assert left.recv(1, socket.MSG_OOB) == b"!"
                # The mark stays readable as an exception until normal data has been read past it.
                right.send(b"x")
                assert layer.select.select([left], [], [], LONG)[0]
                assert left.recv(1) == b"x"

    @both
    def test_hang_up_and_errors(self, layer: Layer) -> None:
        with pipe() as (r, w):
            poll = layer.select.poll()
            poll.register(r, 0)
            silent = layer.start(poll.poll, LONG * 1000)
            reading = layer.start(layer.select.select, [r], [], [r], LONG)
            os.close(w)
            assert silent() == [(r, select.POLLHUP)]
            assert reading() == ([r], [], [])
        with pipe() as (r, w):
            os.set_blocking(w, False)
            while select.select([], [w], [], 0)[1]:
                os.write(w, bytes(4096))
            poll = layer.select.poll()
            poll.register(w, 0)
            silent = layer.start(poll.poll, LONG * 1000)
            writing = layer.start(layer.select.select, [], [w], [w], LONG)
            os.close(r)
            assert silent() == [(w, select.POLLERR)]
            assert writing() == ([], [w], [])

    def test_an_event_that_was_not_asked_for(self) -> None:
        # A pipe without writers hangs up for ever, which is no reason to call it writable.
        with pipe() as (r, w):
            os.close(w)
            assert select.select([], [r], [], 0.01) == ([], [], [])
            start = time.process_time()
            join = GREEN.start(green.select, [], [r], [], 0.5)
            second = GREEN.start(green.select, [], [r], [r], 0.5)
            assert join() == second() == ([], [], [])
            assert time.process_time() - start < 0.25, "it has turned in a loop"

    def test_killed(self) -> None:
        with pipe() as (r, w):
            poll = green.poll()
            poll.register(r, select.POLLIN)
            tasks = [
                spawn(poll.poll),
                spawn(green.select, [r], [], []),
                spawn(green.select, [], [], []),
            ]
            settle()
            for task in tasks:
                task.kill()
                assert task.join(LONG)
            join = GREEN.start(poll.poll)
            os.write(w, b"x")
            assert join() == [(r, select.POLLIN)]

    def test_one_poll_object_for_several_threads(self) -> None:
        for layer in (NATIVE, GREEN):
            with pipe() as (r, w):
                poll = layer.select.poll()
                poll.register(r, select.POLLIN)
                join = layer.start(poll.poll)
                if layer is NATIVE:
                    # There is no telling when a thread has come to wait.
                    while outcome(poll.poll, 0)[0] is type(None):
                        time.sleep(0.001)
                for timeout in (0, 10, None):
                    with pytest.raises(RuntimeError, match="concurrent poll"):
                        poll.poll(timeout)
                os.write(w, b"x")
                assert join() == [(r, select.POLLIN)]
                assert poll.poll() == [(r, select.POLLIN)]

    def test_registrations_change_during_a_wait(self) -> None:
        with pipe() as (r, w), pipe() as (second_r, second_w):
            poll = green.poll()
            poll.register(r, select.POLLIN)
            join = GREEN.start(poll.poll, LONG * 1000)
            poll.register(second_r, select.POLLIN)
            poll.modify(r, select.POLLPRI)
            poll.unregister(r)
            poll.register(r, select.POLLIN)
            settle()
            os.write(second_w, b"x")
            os.write(w, b"x")
            assert (r, select.POLLIN) in join()
            assert poll.poll() == [(second_r, select.POLLIN), (r, select.POLLIN)]
            # Not the one that the wait was for.
            os.read(r, 1)
            os.read(second_r, 1)
            join = GREEN.start(poll.poll, 50)
            poll.unregister(r)
            poll.unregister(second_r)
            assert join() == []
