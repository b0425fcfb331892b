"""Channel and select_channels: rendezvous, buffer, close, fairness; nothing is lost when a task gives up."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greenify import core
from greenify.channel import Channel, select_channels
from greenify.errors import ChannelClosed, HubError, TaskExit
from greenify.task import Task, spawn
from greenify.task_group import TaskGroup
from greenify.timeout import Timeout
from tests.model.threads import LONG, settle
from tests.support import run_python


def waiting(channel: Channel[Any]) -> tuple[int, int, int]:
    """How many values, senders and receivers a channel holds."""
    return len(channel._buffer), len(channel._senders), len(channel._receivers)


def error_of(function: Callable[..., Any], *args: Any) -> BaseException | None:
    try:
        function(*args)
    except Exception as exc:
        return exc
    return None


EMPTY = (0, 0, 0)


class TestRendezvous:
    def test_send_waits_for_a_receiver(self) -> None:
        channel: Channel[int] = Channel()
        sender = spawn(channel.send, 1)
        settle()
        assert sender.alive
        assert channel.receive() == 1
        assert sender.join(LONG)
        assert waiting(channel) == EMPTY

    def test_receive_waits_for_a_sender(self) -> None:
        channel: Channel[int] = Channel()
        receiver = spawn(channel.receive)
        settle()
        channel.send(1)  # without waiting
        assert receiver.join(LONG) and receiver.result == 1
        assert waiting(channel) == EMPTY

    def test_first_come_first_served(self) -> None:
        channel: Channel[int] = Channel()
        senders = [spawn(channel.send, number) for number in range(5)]
        settle()
        assert [channel.receive() for _ in senders] == [0, 1, 2, 3, 4]
        receivers = [spawn(channel.receive) for _ in range(5)]
        settle()
        for number in range(5):
            channel.send(number)
        assert all(task.join(LONG) for task in senders + receivers)
        assert [task.result for task in receivers] == [0, 1, 2, 3, 4]

    def test_none_and_exceptions_are_values_too(self) -> None:
        channel: Channel[Any] = Channel(2)
        error = KeyError()
        channel.send(None)
        channel.send(error)
        assert channel.receive() is None
        assert channel.receive() is error

    def test_send_exception(self) -> None:
        channel: Channel[Any] = Channel()
        receiver = spawn(error_of, channel.receive)
        settle()
        error = KeyError("mine")
        channel.send_exception(error)
        assert receiver.join(LONG)
        assert receiver.result is error
        with pytest.raises(TypeError, match="is no exception"):
            channel.send_exception(KeyError)  # type: ignore[arg-type]

    def test_a_receiver_that_failed_leaves_no_cycle(self) -> None:
        channel: Channel[Any] = Channel(1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                channel.send_exception(KeyError())
                with pytest.raises(KeyError):
                    channel.receive()

            class Value:
                pass

            value = Value()
            reference = weakref.ref(value)
            channel.send(value)
            channel.receive()
            del value
            assert reference() is None
        finally:
            gc.enable()


class TestBuffer:
    def test_send_waits_when_it_is_full(self) -> None:
        channel: Channel[int] = Channel(2)
        channel.send(0)
        channel.send(1)
        assert len(channel) == 2
        late = spawn(channel.send, 2)
        settle()
        assert late.alive
        assert channel.receive() == 0
        assert late.join(LONG) and len(channel) == 2
        assert [channel.receive(), channel.receive()] == [1, 2]

    def test_a_channel_is_true(self) -> None:
        assert Channel() and Channel(3)

    def test_negative(self) -> None:
        with pytest.raises(ValueError, match="must not be negative"):
            Channel(-1)


class TestClose:
    def test_the_buffer_is_received_first(self) -> None:
        channel: Channel[int] = Channel(3)
        channel.send(1)
        channel.send(2)
        channel.close()
        assert channel.closed
        assert list(channel) == [1, 2]
        with pytest.raises(ChannelClosed):
            channel.receive()
        with pytest.raises(ChannelClosed):
            channel.send(3)
        channel.close()

    @pytest.mark.parametrize("sending", [False, True])
    def test_wakes_everybody(self, sending: bool) -> None:
        channel: Channel[int] = Channel()

        def work() -> str:
            try:
                channel.send(1) if sending else channel.receive()
            except ChannelClosed:
                return "closed"
            return "met"

        tasks = [spawn(work) for _ in range(5)]
        settle()
        channel.close()
        assert all(task.join(LONG) for task in tasks)
        assert [task.result for task in tasks] == ["closed"] * 5
        assert waiting(channel) == EMPTY

    def test_iteration(self) -> None:
        channel: Channel[int] = Channel()

        def produce() -> None:
            for number in range(10):
                channel.send(number)
            channel.close()

        with TaskGroup() as group:
            group.spawn(produce)
            assert list(channel) == list(range(10))

    def test_closed_is_an_end_of_file(self) -> None:
        assert issubclass(ChannelClosed, EOFError)


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [0, -1, 0.001])
    def test_nobody_comes(self, timeout: float) -> None:
        channel: Channel[int] = Channel()
        with pytest.raises(TimeoutError):
            channel.send(1, timeout)
        with pytest.raises(TimeoutError):
            channel.receive(timeout)
        with pytest.raises(TimeoutError):
            select_channels(channel, (channel, 1), timeout=timeout)
        assert waiting(channel) == EMPTY

    def test_no_wait_is_needed(self) -> None:
        channel: Channel[int] = Channel(1)
        channel.send(1, 0)
        assert channel.receive(0) == 1
        waiter = spawn(channel.receive)
        settle()
        channel.send(2, 0)
        assert waiter.join(LONG) and waiter.result == 2

    def test_not_a_number(self) -> None:
        with pytest.raises(ValueError):
            Channel().receive(float("nan"))


# Each gives a channel and a call that waits for it.
def _send() -> tuple[Channel[Any], Callable[[], Any]]:
    channel: Channel[Any] = Channel()
    return channel, lambda: channel.send("mine")


def _send_buffered() -> tuple[Channel[Any], Callable[[], Any]]:
    channel: Channel[Any] = Channel(1)
    channel.send("first")
    return channel, lambda: channel.send("mine")


def _receive() -> tuple[Channel[Any], Callable[[], Any]]:
    channel: Channel[Any] = Channel()
    return channel, channel.receive


def _select() -> tuple[Channel[Any], Callable[[], Any]]:
    channel: Channel[Any] = Channel()
    other: Channel[Any] = Channel()
    return channel, lambda: select_channels(other, channel)


class TestGivingUp:
    @pytest.mark.parametrize("setup", [_send, _send_buffered, _receive, _select])
    @pytest.mark.parametrize("how", ["kill", "timeout"])
    def test_nothing_stays_behind(self, setup: Any, how: str) -> None:
        channel, call = setup()
        before = len(channel)

        def limited() -> None:
            with Timeout(0.001):
                call()

        task: Task[Any] = Task(call if how == "kill" else limited)
        task._observer = lambda ended: None  # not to be logged
        task.start()
        settle()
        if how == "kill":
            task.kill()
        assert task.join(LONG)
        assert isinstance(task.exception, TaskExit if how == "kill" else Timeout)
        assert waiting(channel) == (before, 0, 0)

    def test_a_receiver_killed_after_it_was_met_gives_the_value_back(self) -> None:
        for buffer in (0, 1):
            channel: Channel[int] = Channel(buffer)
            victim = spawn(channel.receive)
            settle()
            channel.send(1)
            channel.send(2) if buffer else None
            victim.kill()
            assert victim.join(LONG)
            if isinstance(victim.exception, TaskExit):
                assert channel.receive(0) == 1
            else:
                assert victim.result == 1
            if buffer:
                assert channel.receive(0) == 2
            assert waiting(channel) == EMPTY

    def test_it_goes_to_the_next_receiver(self) -> None:
        channel: Channel[int] = Channel()
        victim, other = spawn(channel.receive), spawn(channel.receive)
        settle()
        victim.kill()  # on its way before the value is
        channel.send(1)
        assert victim.join(LONG) and isinstance(victim.exception, TaskExit)
        assert other.join(LONG) and other.result == 1
        assert waiting(channel) == EMPTY

    def test_killed_at_every_moment(self) -> None:
        """Values in equal values out, whoever is killed when."""
        killed = 0
        for before in range(5):
            for after in range(5):
                channel: Channel[int] = Channel()
                got: list[int] = []

                def receive(channel: Any = channel, got: Any = got) -> None:
                    got.append(channel.receive())

                victim, other = spawn(receive), spawn(receive)
                for _ in range(before):
                    core.sleep(0)
                sender = spawn(channel.send, 1)
                for _ in range(after):
                    core.sleep(0)
                victim.kill()
                settle()
                assert got == [1]
                assert sender.join(LONG) and sender.exception is None
                killed += isinstance(victim.exception, TaskExit)
                channel.close()
                assert victim.join(LONG) and other.join(LONG)
        assert 0 < killed < 25


class TestSelect:
    def test_ready(self) -> None:
        a: Channel[int] = Channel(1)
        b: Channel[int] = Channel(1)
        b.send(5)
        assert select_channels(a, b) == (1, 5)
        assert select_channels(a, (b, 6)) == (1, None)
        assert b.receive() == 6

    def test_first_of_several(self) -> None:
        channels: list[Channel[int]] = [Channel() for _ in range(4)]
        task = spawn(select_channels, *channels)
        settle()
        channels[2].send(7)
        assert task.join(LONG) and task.result == (2, 7)
        assert [waiting(channel) for channel in channels] == [EMPTY] * 4

    def test_only_one_case_happens(self) -> None:
        a: Channel[str] = Channel()
        b: Channel[str] = Channel()
        task = spawn(select_channels, (a, "a"), (b, "b"))
        settle()
        assert b.receive() == "b"
        with pytest.raises(TimeoutError):
            a.receive(0)
        assert task.join(LONG) and task.result == (1, None)

    def test_it_does_not_meet_itself(self) -> None:
        channel: Channel[int] = Channel()
        task = spawn(select_channels, channel, (channel, 1))
        settle()
        assert task.alive
        assert channel.receive() == 1
        assert task.join(LONG) and waiting(channel) == EMPTY

    def test_two_selects_meet(self) -> None:
        a: Channel[int] = Channel()
        b: Channel[int] = Channel()
        one = spawn(select_channels, a, (b, 1))
        two = spawn(select_channels, (a, 2), b)
        assert one.join(LONG) and two.join(LONG)
        assert (one.result, two.result) in [((0, 2), (0, None)), ((1, None), (1, 1))]
        assert waiting(a) == waiting(b) == EMPTY

    def test_every_ready_case_has_its_turn(self) -> None:
        channels: list[Channel[int]] = [Channel(100) for _ in range(3)]
        for channel in channels:
            for number in range(30):
                channel.send(number)
        chosen = [select_channels(*channels)[0] for _ in range(30)]
        for start in range(27):
            assert set(chosen[start : start + 3]) == {0, 1, 2}

    def test_closed(self) -> None:
        a: Channel[int] = Channel()
        b: Channel[int] = Channel()
        task = spawn(error_of, select_channels, a, b)
        settle()
        b.close()
        assert task.join(LONG) and isinstance(task.result, ChannelClosed)
        assert waiting(a) == EMPTY

    def test_wrong_cases(self) -> None:
        with pytest.raises(ValueError, match="nothing to select from"):
            select_channels()
        with pytest.raises(TypeError, match="neither a channel nor a pair"):
            select_channels(3)  # type: ignore[arg-type]


class TestMany:
    def test_ten_thousand_tasks_on_one_channel(self) -> None:
        channel: Channel[int] = Channel()
        receivers = [spawn(channel.receive) for _ in range(10_000)]
        settle()
        assert waiting(channel) == (0, 0, 10_000)
        for victim in receivers[::10]:
            victim.kill()
        settle()
        assert waiting(channel) == (0, 0, 9_000)
        senders = [spawn(channel.send, number) for number in range(9_000)]
        for task in (*receivers, *senders):
            assert task.join(LONG)
        left = [task.result for number, task in enumerate(receivers) if number % 10]
        assert left == list(range(9_000))
        assert waiting(channel) == EMPTY

    def test_os_threads(self) -> None:
        """Native threads, tasks of another hub and tasks of this one on the same channels."""
        work: Channel[int] = Channel()
        answers: Channel[int] = Channel(3)
        stop: Channel[None] = Channel()

        def serve() -> None:
            while True:
                number, value = select_channels(work, stop)
                if number == 1:
                    return
                answers.send(value * 2)

        def hub_thread() -> None:
            tasks = [spawn(serve) for _ in range(3)]
            for task in tasks:
                task.join()

        threads = [threading.Thread(target=serve) for _ in range(3)]
        threads.append(threading.Thread(target=hub_thread))
        for thread in threads:
            thread.start()
        sender = spawn(lambda: [work.send(number) for number in range(500)])
        assert sorted(answers.receive(LONG) for _ in range(500)) == list(range(0, 1000, 2))
        assert sender.join(LONG)
        for _ in range(6):
            stop.send(None, LONG)
        for thread in threads:
            thread.join(LONG)
        assert waiting(work) == waiting(answers) == waiting(stop) == EMPTY

    def test_fairness_between_receivers(self) -> None:
        channel: Channel[int] = Channel()
        counts = [0] * 5

        def consume(number: int) -> None:
            for _ in channel:
                counts[number] += 1

        tasks = [spawn(consume, number) for number in range(5)]
        settle()
        for number in range(100):
            channel.send(number)
        channel.close()
        assert all(task.join(LONG) for task in tasks)
        # In a round of six values everybody has one; the first, who runs when the sender waits, has two.
        assert sum(counts) == 100 and min(counts) >= 100 // 6

    def test_inside_of_itself_it_refuses(self) -> None:
        from greenify import channel as module

        channel: Channel[int] = Channel(1)
        with module._guard, pytest.raises(HubError, match="SimpleQueue"):
            channel.send(1)
        channel.send(1)

    def test_after_a_fork(self) -> None:
        run_python(
            """
            import os
            from greenify import Channel, spawn, sleep
            channel = Channel()
            spawn(channel.receive)
            sleep(0)
            pid = os.fork()
            if not pid:
                # The parent's receiver is not here.
                try:
                    channel.send(1, 0)
                except TimeoutError:
                    task = spawn(channel.receive)
                    channel.send(2, 20)
                    task.join(20)
                    os._exit(task.result)
                os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
            """,
            greenify=False,
            check=True,
        )

    def test_patched_late(self) -> None:
        run_python(
            """
            import greenify
            from greenify import Channel, spawn
            channel = Channel(); spawn(channel.send, 1)
            assert channel.receive() == 1
            greenify.patch_all()
            import threading
            threading.Thread(target=channel.send, args=(2,)).start()
            assert channel.receive() == 2
            """,
            greenify=False,
            check=True,
        )


class ChannelMachine(RuleBasedStateMachine):
    """A channel, and the same thing as three lists."""

    def __init__(self) -> None:
        super().__init__()
        self.channel: Channel[int] = Channel()
        self.capacity = 0
        self.items: deque[int] = deque()
        self.senders: dict[Task[Any], int] = {}
        self.receivers: dict[Task[Any], None] = {}
        self.expected: dict[Task[Any], Any] = {}
        self.next = 0
        self.closed = False

    @precondition(lambda self: not self.next)
    @rule(capacity=st.integers(0, 3))
    def set_capacity(self, capacity: int) -> None:
        if not (self.senders or self.receivers or self.closed):
            self.channel = Channel(capacity)
            self.capacity = capacity

    @rule(many=st.integers(1, 3))
    def send(self, many: int) -> None:
        for _ in range(many):
            value, self.next = self.next, self.next + 1
            task = spawn(self._do, self.channel.send, value)
            if self.closed:
                self.expected[task] = "closed"
            elif self.receivers:
                receiver = next(iter(self.receivers))
                del self.receivers[receiver]
                self.expected[receiver] = value
                self.expected[task] = None
            elif len(self.items) < self.capacity:
                self.items.append(value)
                self.expected[task] = None
            else:
                self.senders[task] = value
        settle(3)

    @rule(many=st.integers(1, 3))
    def receive(self, many: int) -> None:
        for _ in range(many):
            task = spawn(self._do, self.channel.receive)
            if self.items:
                self.expected[task] = self.items.popleft()
                if self.senders and len(self.items) < self.capacity:
                    self.items.append(self._pop_sender())
            elif self.senders:
                self.expected[task] = self._pop_sender()
            elif self.closed:
                self.expected[task] = "closed"
            else:
                self.receivers[task] = None
        settle(3)

    def _pop_sender(self) -> int:
        sender = next(iter(self.senders))
        self.expected[sender] = None
        return self.senders.pop(sender)

    @precondition(lambda self: self.senders or self.receivers)
    @rule(data=st.data())
    def kill(self, data: Any) -> None:
        victim = data.draw(st.sampled_from([*self.senders, *self.receivers]))
        self.senders.pop(victim, None)
        self.receivers.pop(victim, None)
        victim.kill()
        self.expected[victim] = "killed"
        settle(3)

    @precondition(lambda self: self.receivers and not self.closed)
    @rule()
    def kill_after_a_meeting(self) -> None:
        """The first receiver is handed a value and killed before it runs."""
        victim = next(iter(self.receivers))
        del self.receivers[victim]
        value, self.next = self.next, self.next + 1
        victim.kill()
        self.channel.send(value)
        self.expected[victim] = "killed"
        settle(3)
        if self.receivers:
            receiver = next(iter(self.receivers))
            del self.receivers[receiver]
            self.expected[receiver] = value
        else:
            self.items.appendleft(value)

    @precondition(lambda self: self.next > 3)
    @rule()
    def close(self) -> None:
        self.channel.close()
        self.closed = True
        for task in (*self.senders, *self.receivers):
            self.expected[task] = "closed"
        self.senders.clear()
        self.receivers.clear()
        settle(3)

    @invariant()
    def agrees(self) -> None:
        assert waiting(self.channel) == (len(self.items), len(self.senders), len(self.receivers))
        assert list(self.channel._buffer) == list(self.items)
        for task, value in self.expected.items():
            assert not task.alive
            assert task.result == value
        self.expected.clear()
        assert all(task.alive for task in (*self.senders, *self.receivers))

    def teardown(self) -> None:
        self.channel.close()
        settle(3)

    @staticmethod
    def _do(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except ChannelClosed:
            return "closed"
        except TaskExit:
            return "killed"


TestChannelMachine = ChannelMachine.TestCase
TestChannelMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, database=None, derandomize=True
)
