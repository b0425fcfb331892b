"""Waiting for one descriptor that nobody else waits on: on the hub's own kernel queue."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from greenify import core
from greenify.core.descriptors import Descriptor
from greenify.core.kernel_queue import ONCE
from greenify.green import select as green
from greenify.green._selecting import waits
from greenify.task import spawn
from tests.green._selecting.select_layers import GREEN, LONG, Layer, both, pipe, settle, tcp_pair


class Counting:
    """A kernel queue that counts what it reports, by descriptor."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.seen: Counter[int] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.queue, name)

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self.queue.poll(timeout, limit)
        self.seen.update(fd for fd, _ in found)
        return found


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """How many events the hub's queue has reported, by descriptor."""
    descriptors = core.get_hub().descriptors
    counting = Counting(descriptors.queue)
    monkeypatch.setattr(descriptors, "queue", counting)
    yield counting.seen


@pytest.fixture
def no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait may need an interest list."""

    def refuse(*_: object) -> None:
        raise AssertionError("this wait can do without an interest list")

    monkeypatch.setattr(waits, "interests_of", refuse)


@contextmanager
def owned(fd: int) -> Iterator[Descriptor]:
    """The registration of a long-lived owner, such as a socket."""
    descriptors = core.get_hub().descriptors
    try:
        yield descriptors.attach(fd, False)
    finally:
        descriptors.forget(fd)


def by_select(layer: Layer, fd: int, writing: bool) -> Any:
    if writing:
        return layer.select.select([], [fd], [], LONG)
    return layer.select.select([fd], [], [], LONG)


def by_poll(layer: Layer, fd: int, writing: bool) -> Any:
    poll = layer.select.poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN)
    return poll.poll(LONG * 1000)


each_way = pytest.mark.parametrize("way", [by_select, by_poll])


@pytest.mark.skipif(not ONCE, reason="the kernel queue of this platform knows no EPOLLONESHOT")
class TestRegistration:
    @each_way
    def test_needs_no_interest_list(self, way: Any, no_list: None) -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            for _ in range(3):
                reading = GREEN.start(way, GREEN, left.fileno(), False)
                right.send(b"x")
                assert any(reading())
                left.recv(1)
            filled = 0
            while select.select([], [left], [], 0)[1]:
                filled += left.send(bytes(65536))
            writing = GREEN.start(way, GREEN, left.fileno(), True)
            while filled:
                filled -= len(right.recv(filled))
            assert any(writing())
            # The other direction again.
            reading = GREEN.start(way, GREEN, left.fileno(), False)
            right.send(b"x")
            assert any(reading())

    def test_wakes_nobody_afterwards(self, reports: Counter[int]) -> None:
        with pipe() as (r, w):
            for _ in range(3):
                assert green.select([r], [], [], 0.001)[0] == []
                reports.clear()
                for _ in range(20):
                    os.write(w, b"x")
                    settle()
                    os.read(r, 1)
                    settle()
                assert reports[r] <= 1

    def test_an_event_is_reported_once(self, reports: Counter[int]) -> None:
        # A pipe without writers hangs up for ever.
        r, w = os.pipe()
        os.close(w)
        assert green.select([], [r], [], 0.05) == ([], [], [])
        assert reports[r] == 1
        os.close(r)

    def test_an_owner_takes_the_registration_over(self, reports: Counter[int]) -> None:
        with pipe() as (r, w):
            assert green.select([r], [], [], 0.001)[0] == []
            with owned(r) as descriptor:

                def read() -> bytes:
                    while not select.select([r], [], [], 0)[0]:
                        descriptor.read.wait(time.monotonic() + LONG)
                    return os.read(r, 1)

                for data in (b"1", b"2", b"3"):
                    job = GREEN.start(read)
                    settle()
                    assert reports[r] == int(data) - 1
                    os.write(w, data)
                    assert job() == data
                # From then on it is the owner's, and stays so.
                waiting = GREEN.start(green.select, [r], [], [], LONG)
                os.write(w, b"4")
                assert waiting() == ([r], [], [])
                assert read() == b"4"
                job = GREEN.start(read)
                os.write(w, b"5")
                assert job() == b"5"

    def test_a_wait_by_number_takes_it_along(self) -> None:
        with pipe() as (r, w):
            known = core.get_hub().descriptors.by_fd
            assert green.select([r], [], [], 0.001)[0] == []
            assert r in known
            job = spawn(core.wait, r, False)
            settle()
            os.write(w, b"x")
            assert job.join(LONG) and job.result is True
            assert r not in known


class TestWaiting:
    @each_way
    def test_beside_a_wait_by_number(self, way: Any) -> None:
        with pipe() as (r, w):
            selecting = GREEN.start(way, GREEN, r, False)
            job = spawn(core.wait, r, False, time.monotonic() + 0.01)
            assert job.join(LONG) and job.result is False
            settle()
            os.write(w, b"x")
            assert any(selecting())

    @each_way
    def test_beside_an_owner_that_comes_later(self, way: Any) -> None:
        with pipe() as (r, w):
            selecting = GREEN.start(way, GREEN, r, False)
            with owned(r) as descriptor:
                owner = spawn(descriptor.read.wait)
                second = GREEN.start(way, GREEN, r, False)
                os.write(w, b"x")
                assert any(selecting())
                assert any(second())
                assert owner.join(LONG)

    @each_way
    def test_closed_by_greenify(self, way: Any) -> None:
        r, w = os.pipe()
        waiting = GREEN.start(way, GREEN, r, False)
        core.forget(r)
        os.close(r)
        os.close(w)
        found = waiting()
        # The kernel looks at the number once more when something has come for its file.
        assert found == ([(r, select.POLLNVAL)] if way is by_poll else ([r], [], []))

    @pytest.mark.parametrize(
        "mask",
        [
            select.POLLIN,
            select.POLLRDNORM,
            select.POLLPRI | select.POLLIN,
            select.POLLIN | select.POLLRDHUP,
        ],
    )
    @both
    def test_masks_of_reading(self, layer: Layer, mask: int) -> None:
        with tcp_pair() as (left, right):
            poll = layer.select.poll()
            poll.register(left, mask)
            join = layer.start(poll.poll, LONG * 1000)
            right.send(b"x")
            assert join() == [(left.fileno(), mask & (select.POLLIN | select.POLLRDNORM))]

    @pytest.mark.parametrize("mask", [select.POLLOUT, select.POLLWRNORM])
    @both
    def test_masks_of_writing(self, layer: Layer, mask: int) -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            filled = 0
            while select.select([], [left], [], 0)[1]:
                filled += left.send(bytes(65536))
            poll = layer.select.poll()
            poll.register(left, mask)
            join = layer.start(poll.poll, LONG * 1000)
            while filled:
                filled -= len(right.recv(filled))
            assert join() == [(left.fileno(), mask)]

    @both
    def test_shut_down(self, layer: Layer) -> None:
        with tcp_pair() as (left, right):
            poll = layer.select.poll()
            poll.register(left, select.POLLRDHUP)
            join = layer.start(poll.poll, LONG * 1000)
            right.shutdown(socket.SHUT_WR)
            assert join() == [(left.fileno(), select.POLLRDHUP)]

    def test_urgent_data_that_was_not_asked_for(self, reports: Counter[int]) -> None:
        with tcp_pair() as (left, right):
            poll = green.poll()
            poll.register(left, select.POLLIN)
            join = GREEN.start(poll.poll, LONG * 1000)
            with owned(left.fileno()):
                # Which asks for urgent data, too.
                right.send(b"!", socket.MSG_OOB)
                while not reports[left.fileno()]:
                    core.sleep(0.001)
                settle(20)
                assert reports[left.fileno()] <= 2, "it turns in a loop"
                right.send(b"x")
                assert join() == [(left.fileno(), select.POLLIN)]

    def test_from_the_hubs_own_greenlet(self) -> None:
        with pipe() as (r, w):
            found: list[Any] = []
            core.get_hub().call_soon(lambda: found.append(green.select([r], [], [], LONG)))
            settle()
            assert not found
            os.write(w, b"x")
            while not found:
                core.sleep(0.001)
            assert found == [([r], [], [])]
