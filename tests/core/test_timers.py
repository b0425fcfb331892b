"""Timers: never early, in order, soon, and bounded however many are moved and cancelled."""

from __future__ import annotations

import pytest

from tests.core.run import run


@pytest.mark.smoke
def test_never_early() -> None:
    # libuv truncates to whole milliseconds and fires one timer in a few hundred early.
    run("""
        import random
        from engine_child import *

        rng = random.Random(1)
        early = []

        def sleeper(count):
            for _ in range(count):
                seconds = rng.random() ** 3 / 100
                start = time.monotonic()
                core.sleep(seconds)
                if time.monotonic() - start < seconds:
                    early.append(seconds)

        jobs = [spawn(sleeper, 50) for _ in range(100)]
        reader, writer = pipe()

        def waits():
            for _ in range(100):
                deadline = later(0.0029)
                assert core.wait(reader, False, deadline) is False
                assert core.new_waiter().wait(deadline + 0.0011) is False
                assert time.monotonic() >= deadline + 0.0011

        # Two at a time on one descriptor: the deadline of one is not the other's.
        jobs += [spawn(waits), spawn(waits), spawn(waits)]
        for job in jobs:
            job.join(30)
        assert not early, (len(early), early[:5])
    """)


def test_10000_sleepers_wake_in_order() -> None:
    run("""
        import random
        from engine_child import *

        rng = random.Random(1)

        def sleeper(deadline, woken):
            assert core.new_waiter().wait(deadline) is False
            woken.append((deadline, time.monotonic()))

        def delay(margin, span):
            # The median; None if the first were due before all were asleep.
            woken = []
            start = time.monotonic() + margin
            for _ in range(10000):
                spawn(sleeper, start + span * rng.random(), woken)
            core.sleep(0)
            in_time = time.monotonic() < start
            while len(woken) < 10000:
                core.sleep(0.01)
            deadlines = [deadline for deadline, now in woken]
            assert deadlines == sorted(deadlines) or not in_time
            late = sorted(now - deadline for deadline, now in woken)
            assert late[0] >= 0
            assert not core.get_hub().timers.heap
            return late[len(late) // 2] if in_time else None

        # A busy machine makes them late, but less so if it has more time.
        for margin, span, limit in ((0.6, 1, 0.005), (0.6, 1, 0.01), (2, 2, 0.05), (4, 6, 0.1)):
            found = delay(margin, span)
            if found is not None and found < limit:
                break
        else:
            raise AssertionError(found)
    """)


def test_equal_deadlines_keep_their_order() -> None:
    run("""
        from engine_child import *

        deadline = later(0.05)
        order = []

        class Target:
            def __init__(self, number):
                self.number = number
            def due(self):
                order.append(self.number)

        timers = core.get_hub().timers
        for number in range(100):
            timers.add(deadline, Target(number))
        core.sleep(0.1)
        assert order == list(range(100))
    """)


def test_after_work_that_blocks() -> None:
    # libuv's clock stands still meanwhile: without an update a 0.1 s timer fired after 0.1 ms.
    run("""
        from engine_child import *

        native_sleep = time.sleep
        for blocked in (0.001, 0.02, 0.1):
            for seconds in (0.0005, 0.01, 0.1):
                native_sleep(blocked)
                start = time.monotonic()
                core.sleep(seconds)
                assert 0 <= time.monotonic() - start - seconds < 0.5
    """)


def test_due_just_when_libuv_goes_to_sleep() -> None:
    # A timer that is due already fires before libuv polls; that poll needs a limit of its own to end.
    run("""
        from engine_child import *

        loop = core.get_hub().loop
        for number in range(400):
            deadline = later((number % 7 - 3) * 0.0005)
            while time.monotonic() < deadline:
                core.sleep(0)
                loop.sleep(deadline)
            assert time.monotonic() < deadline + 5
        for number in range(400):
            deadline = time.monotonic() + (number % 20) * 0.0001
            loop._arm(deadline)
            while time.monotonic() < deadline + 0.0005:
                pass
            loop.uv.run(1)
        loop._arm(None)
        still_works()
    """)


def test_stress_of_deadlines_around_now() -> None:
    run("""
        import random
        from engine_child import *

        rng = random.Random(2)

        def sleeper():
            for _ in range(300):
                deadline = later(rng.choice((-0.001, 0, 1e-9, 1e-6, 1e-4, 0.00099, 0.001, 0.0011)))
                assert core.new_waiter().wait(deadline) is False
                assert time.monotonic() >= deadline
                if rng.random() < 0.1:
                    limit = later(0.0005)
                    while time.monotonic() < limit:
                        pass

        jobs = [spawn(sleeper) for _ in range(20)]
        for job in jobs:
            job.join(30)
    """)


def test_far_and_odd_deadlines() -> None:
    run("""
        from engine_child import *

        far = [1e6, 4e6, 1e9, 1e12, 1e300, float("inf")]
        jobs = [spawn(core.sleep, seconds) for seconds in far]
        reader, writer = pipe()
        jobs += [spawn(core.wait, reader, False, later(seconds)) for seconds in far]
        blocked = []
        core.get_hub().call_soon(lambda: blocked.append(core.wait(reader, False, later(1e9))))
        for _ in range(3):
            core.sleep(0.01)
        before = time.process_time()
        core.sleep(0.2)
        assert time.process_time() - before < 0.1
        assert not any(job.ended for job in jobs) and not blocked
        import _thread
        waiter = core.new_waiter()
        def native():
            own = core.new_waiter()
            woken.append(own)
            waiter.wake()
            own.wait(later(1e12))
            result = core.wait(reader, False, later(1e9))
            done.append(result)
            finished.wake()
        woken, done = [], []
        finished = core.new_waiter()
        _thread.start_new_thread(native, ())
        waiter.wait(later(10))
        woken[0].wake()
        core.sleep(0.01)
        import os
        os.write(writer, b"x")
        assert finished.wait(later(10)) and done == [True]
        while not blocked:
            core.sleep(0.001)
        assert blocked == [True]
        for seconds in (-1, -0.0, 0):
            core.sleep(seconds)
    """)


def test_cancelled_timers_are_bounded() -> None:
    run("""
        from engine_child import *

        timers = core.get_hub().timers
        peak = 0

        class Target:
            def due(self):
                raise AssertionError("cancelled")

        for _ in range(100):
            entries = [timers.add(later(1000 + number), Target()) for number in range(100)]
            for entry in entries:
                timers.cancel(entry)
                timers.cancel(entry)
            peak = max(peak, len(timers.heap))
        assert peak < 1000 and timers.pending() == 0
        # Every wait that is woken in time cancels its own.
        for _ in range(20000):
            waiter = core.new_waiter()
            core.get_hub().call_soon(waiter.wake)
            assert waiter.wait(later(1000))
        assert len(timers.heap) < 1000 and timers.pending() == 0
        assert timers.next() is None
    """)


def test_cancel_from_within() -> None:
    run("""
        from engine_child import *

        timers = core.get_hub().timers
        log = []

        class Target:
            def __init__(self, name, *others):
                self.name = name
                self.others = others
            def due(self):
                log.append(self.name)
                for other in self.others:
                    timers.cancel(entries[other])
                # More than enough to make the heap be rebuilt right now.
                doomed = [timers.add(later(100), self) for _ in range(1000)]
                for entry in doomed:
                    timers.cancel(entry)

        entries = {}
        now = later(0.01)
        for number, others in enumerate([("b",), (), ("a", "d"), (), ("e",)]):
            entries["abcde"[number]] = timers.add(now + number * 1e-6, Target("abcde"[number], *others))
        core.sleep(0.03)
        assert log == ["a", "c", "e"], log
        assert timers.pending() == 0 and len(timers.heap) < 1000
    """)


class TestMovingDeadlines:
    """A socket with a time-out keeps one entry for many operations."""

    def test_one_entry_for_many_waits(self) -> None:
        run("""
            import os
            from engine_child import *

            hub = core.get_hub()
            left, right = socket_pair()
            side = hub.descriptors.attach(left, False).read
            core.sleep(0)
            side.edge = False
            for _ in range(2000):
                hub.call_soon(os.write, right, b"x")
                assert side.wait(later(1)) is True
                os.read(left, 10)
                assert hub.timers.pending() <= 1
            start = time.monotonic()
            assert side.wait(start + 1) is False
            assert 1 <= time.monotonic() - start < 10
        """)

    def test_later_and_earlier(self) -> None:
        run("""
            from engine_child import *

            hub = core.get_hub()
            left, right = socket_pair()
            side = hub.descriptors.attach(left, False).read
            for seconds in (0.03, 0.01, 0.05, 0.001, 0.02, 0.0, -1.0, 0.01):
                deadline = later(seconds)
                assert side.wait(deadline) is False
                assert 0 <= time.monotonic() - deadline < 10
            # The entry that is left from a short wait must not end a long one.
            job = spawn(side.wait, later(0.02))
            settle()
            hub.ready.append(job.greenlet)
            assert job.join(10) is False
            assert hub.timers.pending() == 0
        """)

    def test_waiter_beside_has_its_own(self) -> None:
        run("""
            import os
            from engine_child import *

            left, right = socket_pair()
            side = core.get_hub().descriptors.attach(left, False).read
            ended = []
            def wait(seconds, deadline):
                arrived = side.wait(deadline)
                ended.append(seconds)
                assert arrived or time.monotonic() >= deadline
                return arrived
            jobs = [spawn(wait, seconds, later(seconds)) for seconds in (0.06, 0.01, 0.03, 1000)]
            assert [job.join(20) for job in jobs[:3]] == [False] * 3
            assert ended == [0.01, 0.03, 0.06]
            os.write(right, b"x")
            assert jobs[3].join(20) is True
        """)
