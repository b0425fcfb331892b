"""Wake-ups that nobody asked for do no harm: every wait looks at its own flag again."""

from __future__ import annotations

from tests.core.run import run


def test_every_kind_of_wait() -> None:
    run("""
        import os, random
        from greenlet import greenlet
        from engine_child import *
        from greenify.core.workers import default_workers

        hub = core.get_hub()
        rng = random.Random(1)
        native_sleep = time.sleep
        left, right = socket_pair()
        waiter_of = {}
        log = []

        def on_waiter(name, deadline):
            waiter_of[name] = core.new_waiter()
            log.append((name, waiter_of[name].wait(deadline)))

        def sleeper(seconds):
            start = time.monotonic()
            core.sleep(seconds)
            log.append(("early", time.monotonic() - start < seconds))

        def worker():
            log.append(("worker", default_workers.run(lambda: native_sleep(0.3) or 7)))

        def in_raw():
            result = greenlet(on_waiter).switch("raw", None)
            log.append(("raw returned", result))

        side = hub.descriptors.attach(left, False).write
        fill(left)
        jobs = [
            spawn(on_waiter, "plain", None),
            spawn(on_waiter, "limited", later(10)),
            spawn(on_waiter, "expires", later(0.3)),
            spawn(sleeper, 0.3),
            spawn(lambda: log.append(("fd", core.wait(left, False)))),
            spawn(lambda: log.append(("fd beside", core.wait(left, False, later(10))))),
            spawn(lambda: log.append(("fd expires", core.wait(left, False, later(0.2))))),
            spawn(worker),
            spawn(in_raw),
        ]
        hub.call_soon(on_waiter, "hub", None)
        settle(6)
        limit = later(0.5)
        rounds = 0
        while time.monotonic() < limit:
            for _ in range(rng.randrange(1, 6)):
                # The task whose raw greenlet waits is not parked itself: that one is left out.
                hub.ready.append(rng.choice([*(job.greenlet for job in jobs[:-1]), hub.greenlet, hub.main]))
            if rng.random() < 0.1:
                core.sleep(0.001)
            core.sleep(0)
            rounds += 1
        assert rounds > 100
        done = dict(log)
        assert done == {"expires": False, "early": False, "fd expires": False, "worker": 7}, done
        for waiter in waiter_of.values():
            waiter.wake()
        os.write(right, b"x")
        for job in jobs:
            job.join(10)
        settle()
        done = dict(log)
        assert done == {
            "expires": False, "early": False, "fd expires": False, "worker": 7, "plain": True, "hub": True,
            "limited": True, "fd": True, "fd beside": True, "raw": True, "raw returned": None,
        }, done
        assert len(log) == len(done)
    """)


def test_ended_and_unstarted_tasks() -> None:
    run("""
        from engine_child import *

        hub = core.get_hub()
        started = []
        jobs = [spawn(started.append, number) for number in range(100)]
        for job in jobs:
            hub.ready.append(job.greenlet)
        settle()
        for job in jobs:
            hub.ready.append(job.greenlet)
        settle()
        assert started == list(range(100))
        assert not hub.tasks
    """)


def test_timer_and_wake_up_at_once_leave_no_second_entry() -> None:
    # A greenlet that is on the ready queue once too often may since have called a raw greenlet of the user's,
    # which would be taken for that one's answer.
    run("""
        from greenlet import greenlet
        from engine_child import *

        hub = core.get_hub()
        released = core.new_waiter()

        def raw():
            core.sleep(0.01)
            return "from raw"

        def task(results, first):
            waiter = core.new_waiter()
            deadline = later(0.002)
            waiters.append(waiter)
            results.append(waiter.wait(deadline))
            results.append(greenlet(raw).switch())

        for first in ("wake", "timer"):
            waiters, results = [], []
            job = spawn(task, results, first)
            settle()
            limit = later(0.004)
            while time.monotonic() < limit:
                pass
            if first == "wake":
                waiters[0].wake()
                hub.timers.fire()
            else:
                hub.timers.fire()
                waiters[0].wake()
            job.join(10)
            assert results == [True, "from raw"], (first, results)

            # Woken after it has given up.
            waiters, results = [], []
            job = spawn(task, results, first)
            core.sleep(0.005)
            assert results == [False]
            waiters[0].wake()
            job.join(10)
            assert results == [False, "from raw"], (first, results)
    """)


def test_signal_for_a_raw_greenlet_that_pauses() -> None:
    run("""
        from greenlet import greenlet
        from engine_child import *

        hub = core.get_hub()
        called = []

        def raw():
            for _ in range(3):
                core.sleep(0)
            return "from raw"

        hub.call_soon(hub.interrupt_main, lambda: called.append(True))
        assert greenlet(raw).switch() == "from raw"
        assert called == [True]
    """)


def test_a_handler_waits_when_its_greenlet_is_about_to_switch() -> None:
    # It comes after the wait has looked at its flag, and takes the wake-up that was meant for that.
    run(
        """
        from engine_child import *

        hub = core.get_hub()
        outer, inner = core.new_waiter(), core.new_waiter()
        following = hub.next
        def handler_first():
            hub.next = following
            hub.call_soon(outer.wake)
            hub.call_soon(hub.call_soon, hub.call_soon, inner.wake)
            assert inner.wait() and outer.woken
            return following()
        hub.next = handler_first
        assert outer.wait()
        """,
        timeout=10,
    )


def test_a_handler_within_a_handler_takes_the_wake_ups_of_both() -> None:
    run(
        """
        import os
        from engine_child import *

        hub = core.get_hub()
        following = hub.next
        end, start = os.pipe()
        first, second, third = (core.new_waiter() for _ in range(3))

        def second_handler():
            hub.next = following
            first.wake()
            second.wake()
            hub.call_soon(hub.call_soon, hub.call_soon, wake())
            wait()
            return following()
        def first_handler():
            hub.next = second_handler
            assert second.wait()
            return following()

        for wait, wake in (
            (third.wait, lambda: third.wake),
            (lambda: core.wait(end, False), lambda: lambda: os.write(start, b"x")),
        ):
            hub.next = first_handler
            assert first.wait()
            first, second = core.new_waiter(), core.new_waiter()
        """,
        timeout=10,
    )


def test_a_handler_waits_for_a_descriptor_or_a_queue() -> None:
    # As above; those waits are written out for themselves.
    run(
        """
        import os, queue
        from engine_child import *
        from greenify.green._threads import queue_methods
        from greenify.queue import SimpleQueue

        hub = core.get_hub()
        following = hub.next
        outer_end, outer_start = os.pipe()
        inner_end, inner_start = os.pipe()
        simple = SimpleQueue()

        def for_pipe():
            hub.call_soon(hub.call_soon, hub.call_soon, os.write, inner_start, b"x")
            assert core.wait(inner_end, False)
            os.read(inner_end, 1)
        def for_queue():
            hub.call_soon(hub.call_soon, hub.call_soon, simple.put, 1)
            assert simple.get() == 1
        def wait_outside(first):
            def handler_first():
                hub.next = following
                first()
                return following()
            hub.next = handler_first

        for first in (for_pipe, for_queue):
            # Around it a wait for a waiter, for a descriptor, and for a queue.
            waiter = core.new_waiter()
            hub.call_soon(waiter.wake)
            wait_outside(first)
            assert waiter.wait()
            hub.call_soon(os.write, outer_start, b"x")
            wait_outside(first)
            assert core.wait(outer_end, False)
            os.read(outer_end, 1)
            other = SimpleQueue()
            hub.call_soon(other.put, 2)
            wait_outside(first)
            assert other.get() == 2
        """,
        timeout=15,
    )


def test_a_wait_within_no_other_leaves_no_wake_up_behind() -> None:
    # A raw greenlet's caller would take it for the answer.
    run(
        """
        import os, queue
        from engine_child import *
        from greenify.green._threads import queue_methods
        from greenify.locks import Lock
        from greenify.queue import SimpleQueue

        hub = core.get_hub()
        end, start = os.pipe()
        simple, event = SimpleQueue(), []

        def for_waiter(deadline=None):
            event.append(core.new_waiter())
            event[-1].wait(deadline)
        def until_later():
            for_waiter(time.monotonic() + 30)

        for wait, wake in (
            (for_waiter, lambda: event[-1].wake()),
            (until_later, lambda: event[-1].wake()),
            (simple.get, lambda: simple.put(1)),
            (lambda: core.wait(end, False), lambda: os.write(start, b"x")),
        ):
            left = []
            def work():
                wait()
                left.append(hub.ready.count(greenlet.getcurrent()))
            job = spawn(work)
            core.sleep(0)
            for _ in range(3):
                hub.ready.append(job.greenlet)
                core.sleep(0)
            assert not left
            wake()
            job.join(10)
            assert left == [0], wait
        """,
        timeout=15,
    )
