"""Every place where a task can wait: who is killed or timed out there leaves and loses nothing.

`POINTS` describes the places in the same few words, so that one test goes for all of them.
"""

from __future__ import annotations

import array
import fcntl
import gc
import termios
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenify import core, futures, queue
from greenify.channel import Channel, select_channels
from greenify.condition import Condition
from greenify.errors import TaskExit
from greenify.event import Event
from greenify.green import socket
from greenify.locks import Lock, RLock
from greenify.results import Future
from greenify.semaphores import BoundedSemaphore, Semaphore
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.model.threads import LONG, settle


class Point:
    """One place to wait.

    Attributes:
        wait: waits until it is granted what it waits for.
        grant: grants it to one waiter, or to everybody if `to_all`.  Does not wait.
        waiting: how many registrations there are, `each` for every waiter.
        left: how many grants nobody has taken.
        to_all: one grant is enough for all.
        given: a waiter that is killed after its grant has taken it nevertheless (a value that was sent).
        in_turn: waiters are served before newcomers, sooner or later.  (Whoever comes when a condition is
            true, or data are there, need not wait.)
    """

    def __init__(
        self,
        wait: Callable[[], Any],
        grant: Callable[[], Any],
        waiting: Callable[[], int],
        left: Callable[[], int] = lambda: 0,
        to_all: bool = False,
        each: int = 1,
        given: bool = False,
        close: Callable[[], Any] = lambda: None,
        in_turn: bool = True,
    ) -> None:
        self.wait = wait
        self.grant = grant
        self.waiting = waiting
        self.left = left
        self.to_all = to_all
        self.each = each
        self.given = given
        self.close = close
        self.in_turn = in_turn


def lock() -> Point:
    lock = Lock()
    lock.acquire()
    return Point(lock.acquire, lock.release, lambda: len(lock._turns), lambda: not lock.locked())


def rlock() -> Point:
    lock = RLock()
    lock.acquire()

    def wait() -> None:
        with lock:
            pass

    return Point(wait, lock.release, lambda: len(lock._turns), to_all=True)


def semaphore(kind: Any) -> Point:
    semaphore = kind(5)
    for _ in range(5):
        semaphore.acquire()
    return Point(
        semaphore.acquire,
        semaphore.release,
        lambda: len(semaphore._turns),
        lambda: semaphore._value,
    )


def condition() -> Point:
    condition = Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    def grant() -> None:
        with condition:
            condition.notify()

    return Point(wait, grant, lambda: len(condition._waiters))


def condition_wait_for() -> Point:
    condition = Condition()
    ready: list[int] = []

    def wait() -> None:
        with condition:
            condition.wait_for(lambda: ready)
            ready.pop()

    def grant() -> None:
        with condition:
            ready.append(1)
            condition.notify()

    return Point(wait, grant, lambda: len(condition._waiters), lambda: len(ready), in_turn=False)


def event() -> Point:
    event = Event()
    return Point(event.wait, event.set, lambda: len(event._waiters), to_all=True)


def getting(kind: Any) -> Point:
    items = kind()
    return Point(
        items.get,
        lambda: items.put(1),
        lambda: len(
            items._waiters if isinstance(items, queue.SimpleQueue) else items.not_empty._waiters
        ),
        items.qsize,
    )


def putting() -> Point:
    items: queue.Queue[int] = queue.Queue(1)
    items.put(0)
    return Point(
        lambda: items.put(1),
        items.get_nowait,
        lambda: len(items.not_full._waiters),
        lambda: 1 - items.qsize(),
    )


def joining_a_queue() -> Point:
    items: queue.Queue[int] = queue.Queue()
    items.put(0)
    waiters = items.all_tasks_done._waiters
    return Point(items.join, items.task_done, lambda: len(waiters), to_all=True)


def receiving() -> Point:
    channel: Channel[int] = Channel()
    return Point(
        channel.receive,
        lambda: channel.send(1, timeout=0),
        lambda: len(channel._receivers),
        lambda: len(channel),
    )


def sending() -> Point:
    channel: Channel[int] = Channel()
    return Point(
        lambda: channel.send(1),
        lambda: channel.receive(timeout=0),
        lambda: len(channel._senders),
        given=True,
    )


def selecting() -> Point:
    one: Channel[int] = Channel()
    two: Channel[int] = Channel()
    return Point(
        lambda: select_channels(one, two),
        lambda: two.send(1, timeout=0),
        lambda: len(one._receivers) + len(two._receivers),
        lambda: len(two),
        each=2,
    )


def joining_a_task() -> Point:
    gate = Event()
    task = spawn(gate.wait)
    return Point(task.join, gate.set, lambda: len(task._done._waiters), to_all=True)


def future() -> Point:
    future: Future[int] = Future()
    condition: Any = future._condition
    return Point(
        future.result,
        lambda: future.set_result(1),
        lambda: len(condition._waiters),
        to_all=True,
    )


def futures_wait() -> Point:
    future: Any = Future()
    return Point(
        lambda: futures.wait([future]),
        lambda: future.set_result(1),
        lambda: 0 if future.done() else len(future._done_callbacks),
        to_all=True,
    )


def futures_as_completed() -> Point:
    future: Any = Future()
    return Point(
        lambda: list(futures.as_completed([future])),
        lambda: future.set_result(1),
        lambda: 0 if future.done() else len(future._done_callbacks),
        to_all=True,
    )


def sock() -> Point:
    left, right = socket.socketpair()

    def waiting() -> int:
        state: Any = left._state  # type: ignore[attr-defined]
        side = state.read
        if side is None:
            return 0
        return (side.waiter is not None) + len(side.others or ())

    def available() -> int:
        if left.fileno() < 0:
            return 0
        number = array.array("i", [0])
        fcntl.ioctl(left, termios.FIONREAD, number)
        return number[0]

    def close() -> None:
        left.close()
        right.close()

    return Point(
        lambda: left.recv(1),
        lambda: right.send(b"x"),
        waiting,
        available,
        close=close,
        in_turn=False,
    )


POINTS: dict[str, Callable[[], Point]] = {
    "Lock.acquire": lock,
    "RLock.acquire": rlock,
    "Semaphore.acquire": lambda: semaphore(Semaphore),
    "BoundedSemaphore.acquire": lambda: semaphore(BoundedSemaphore),
    "Condition.wait": condition,
    "Condition.wait_for": condition_wait_for,
    "Event.wait": event,
    "Queue.get": lambda: getting(queue.Queue),
    "LifoQueue.get": lambda: getting(queue.LifoQueue),
    "PriorityQueue.get": lambda: getting(queue.PriorityQueue),
    "SimpleQueue.get": lambda: getting(queue.SimpleQueue),
    "Queue.put": putting,
    "Queue.join": joining_a_queue,
    "Channel.receive": receiving,
    "Channel.send": sending,
    "select_channels": selecting,
    "Task.join": joining_a_task,
    "Future.result": future,
    "futures.wait": futures_wait,
    "futures.as_completed": futures_as_completed,
    "socket.recv": sock,
}
points = pytest.mark.parametrize("name", POINTS)


@pytest.fixture
def point(name: str) -> Iterator[Point]:
    made = POINTS[name]()
    yield made
    made.close()


def timed_out(point: Point) -> None:
    with Timeout(0.001, False):
        point.wait()
        raise AssertionError("it was granted")


def finished(tasks: list[Task[Any]]) -> int:
    """How many have been granted what they waited for."""
    return sum(not task.alive and task.exception is None for task in tasks)


@points
class TestGivingUp:
    @pytest.mark.parametrize("how", ["kill", "timeout"])
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_in_the_crowd(self, point: Point, how: str, place: int) -> None:
        """One of three gives up; the other two are served, and nothing is left."""
        calls: list[Callable[[], Any]] = [point.wait] * 3
        if how == "timeout":
            calls[place] = lambda: timed_out(point)
        tasks: list[Task[Any]] = []
        for call in calls:
            tasks.append(spawn(call))
            core.sleep(0)
        victim = tasks.pop(place)
        if how == "kill":
            settle()
            assert point.waiting() == 3 * point.each
            victim.kill()
        assert victim.join(LONG)
        settle()
        assert point.waiting() == 2 * point.each and point.left() == 0
        for number in range(1 if point.to_all else 2):
            assert finished(tasks) == number
            point.grant()
            settle(20)
        for task in tasks:
            assert task.join(LONG)
        assert finished(tasks) == 2
        assert point.waiting() == 0 and point.left() == 0

    @pytest.mark.parametrize("first", ["kill", "grant"])
    @pytest.mark.parametrize("turns", [0, 1, 2])
    def test_at_the_moment_of_the_grant(self, point: Point, first: str, turns: int) -> None:
        """What a waiter was granted and could not take goes to the next one."""
        victim, other = tasks = [spawn(point.wait), spawn(point.wait)]
        settle()
        for each in (first, "grant" if first == "kill" else "kill"):
            if each == "kill":
                victim.kill()
            else:
                point.grant()
            settle(turns)
        assert victim.join(LONG)
        settle(20)  # so many rounds that the hub looks at the kernel's queue in between
        lost = point.given and isinstance(victim.exception, TaskExit) and not finished([other])
        if point.to_all:
            assert other.join(LONG)
        else:
            assert finished(tasks) + point.left() + lost == 1, (tasks, point.left())
            assert finished(tasks) == 1 or lost
        if other.alive:
            point.grant()
            assert other.join(LONG)
        assert finished([other]) == 1
        assert point.waiting() == 0 and point.left() == 0

    def test_nothing_refers_to_it_afterwards(self, point: Point) -> None:
        tasks = [spawn(point.wait) for _ in range(10)]
        settle()
        references = [weakref.ref(task) for task in tasks]
        for task in tasks:
            task.kill()
        for task in tasks:
            assert task.join(LONG)
        del task, tasks
        gc.collect()
        assert [reference() for reference in references] == [None] * 10
        assert point.waiting() == 0


@points
def test_everybody_is_served_in_time(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many newcomers there are: nobody waits for more grants than there were waiters before."""
    monkeypatch.setattr("greenify.tokens._PATIENCE", 0.0)
    if point.to_all:
        waiters = [spawn(point.wait) for _ in range(20)]
        settle()
        point.grant()
        newcomers = [spawn(point.wait) for _ in range(20)]
        settle(50)  # who has had a lock wakes the next
        assert finished(waiters) == finished(newcomers) == 20
        return
    waiters = [spawn(point.wait) for _ in range(20)]
    settle()
    newcomers = []
    if not point.in_turn:
        for _ in range(20):
            point.grant()
            settle(20)
        assert finished(waiters) == 20
        return
    for number in range(20):
        newcomers.append(spawn(point.wait))
        point.grant()
        newcomers.append(spawn(point.wait))
        settle()
        # A newcomer may be faster than the first waiter, but only once.
        assert finished(waiters) >= number // 2
    extra = 0
    while finished(waiters) < 20:
        point.grant()
        settle()
        extra += 1
    assert extra <= 20
    for task in (*waiters, *newcomers):
        task.kill()
    for task in (*waiters, *newcomers):
        assert task.join(LONG)
    assert point.waiting() == 0


def test_sleeping_leaves_no_timer() -> None:
    hub = core.get_hub()
    settle()
    before = hub.timers.pending()
    tasks = [spawn(core.sleep, 1000) for _ in range(1000)]
    settle()
    for task in tasks:
        task.kill()
    for task in tasks:
        assert task.join(LONG)
    assert hub.timers.pending() <= before
    # Some hundred are kept until throwing them away pays.
    assert len(hub.timers.heap) <= 2 * before + 300, "cancelled timers are to be thrown away"
