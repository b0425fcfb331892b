"""15. contextvars per thread, and thread-local data."""

from __future__ import annotations

import sys

import pytest

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode


class TestContextVars:
    @ALL
    def test_each_thread_has_its_own(self, mode: Mode) -> None:
        """A thread starts with an empty context; what it sets stays its own, across every switch."""
        code = """
        import contextvars, time
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("main")
        def work(number):
            assert variable.get() == "unset"
            token = variable.set(number)
            for _ in range(10):
                time.sleep(0)
                assert variable.get() == number
            variable.reset(token)
            assert variable.get() == "unset"
            variable.set(number)
            return contextvars.copy_context()
        contexts = [call.result() for call in [Call(work, number) for number in range(10)]]
        assert [context[variable] for context in contexts] == list(range(10))
        assert variable.get() == "main"
        """
        check(code, mode)

    @BOTH
    def test_running_a_thread_in_a_copy(self, mode: Mode) -> None:
        code = """
        import contextvars, decimal, time
        from concurrent.futures import ThreadPoolExecutor
        variable = contextvars.ContextVar("variable")
        variable.set("main")
        context = contextvars.copy_context()
        def change():
            found = variable.get()
            variable.set("changed")
            time.sleep(0.001)
            return found, variable.get()
        assert Call(context.run, change).result() == ("main", "changed")
        assert variable.get() == "main" and context[variable] == "changed"
        gate = threading.Event()
        inside = threading.Event()
        def stay():
            inside.set()
            gate.wait()
        staying = Call(context.run, stay)
        inside.wait()
        try:
            context.run(int)
        except RuntimeError:
            print("entered already")
        gate.set()
        staying.result()
        # decimal keeps its settings in a context variable.
        def precise(digits):
            decimal.getcontext().prec = digits
            time.sleep(0)
            return len(str(decimal.Decimal(1) / 3)) - 2
        with ThreadPoolExecutor(5) as pool:
            assert list(pool.map(precise, range(1, 6))) == [1, 2, 3, 4, 5]
        assert decimal.getcontext().prec == 28
        """
        assert check(code, mode) == "entered already\n"


class TestLocal:
    @ALL
    def test_subclass_with_arguments(self, mode: Mode) -> None:
        """``__init__`` runs once more in each thread that uses the object, with the same arguments."""
        code = """
        import time
        made = []
        class Session(threading.local):
            limit = 3
            def __init__(self, name, *, size=1):
                super().__init__()
                made.append(threading.get_ident())
                self.name, self.size, self.items = name, size, []
            @property
            def full(self):
                return len(self.items) >= self.limit
        session = Session("s", size=5)
        session.name = "changed in main"
        def use(number):
            assert (session.name, session.size, session.items) == ("s", 5, [])
            for _ in range(3):
                session.items.append(number)
                time.sleep(0)
            assert session.full and session.items == [number] * 3
            session.extra = number
            time.sleep(0)
            assert session.__dict__ == {"name": "s", "size": 5, "items": [number] * 3, "extra": number}
            del session.extra
            return threading.get_ident()
        idents = [call.result() for call in [Call(use, number) for number in range(5)]]
        assert made == [threading.get_ident(), *idents] or sorted(made[1:]) == sorted(idents)
        assert session.name == "changed in main" and session.items == [] and not hasattr(session, "extra")
        try:
            threading.local("argument")
        except TypeError:
            print("no arguments without an __init__")
        class Slotted(threading.local):
            __slots__ = ("shared",)
        slotted = Slotted()
        slotted.shared, slotted.own = 1, 2
        assert Call(lambda: (slotted.shared, hasattr(slotted, "own"))).result() == (1, False)
        """
        assert check(code, mode) == "no arguments without an __init__\n"

    @BOTH
    def test_freed_when_the_thread_ends(self, mode: Mode) -> None:
        code = """
        import gc, weakref
        class Value:
            pass
        local, order = threading.local(), []
        def use():
            value = local.value = Value()
            weakref.finalize(value, order.append, "freed")
            return weakref.ref(value)
        for _ in range(20):
            call = Call(use)
            gone = call.result()
            call.join()
            del call
        other = threading.Event()
        while len(order) < 20:
            other.wait(0.001)  # the thread is over a moment before its data is
        assert gone() is None
        # And when the object goes while the thread lives on.
        here, go = threading.Event(), threading.Event()
        def stay():
            global watched
            local.value = Value()
            watched = weakref.ref(local.value)
            here.set()
            go.wait()
        staying = Call(stay)
        here.wait()
        assert watched() is not None
        del local
        gc.collect()
        assert watched() is None
        go.set()
        staying.result()
        """
        check(code, mode)

    @BOTH
    def test_pools_and_timers(self, mode: Mode) -> None:
        code = """
        from concurrent.futures import ThreadPoolExecutor
        local = threading.local()
        barrier = threading.Barrier(4)
        def use(number):
            barrier.wait()
            local.numbers = getattr(local, "numbers", []) + [number]
            return local.numbers
        with ThreadPoolExecutor(4) as pool:
            first = list(pool.map(use, range(4)))
            second = list(pool.map(use, range(4, 8)))
        assert first == [[n] for n in range(4)]
        assert sorted(map(len, second)) == [2] * 4
        seen, done = [], threading.Event()
        timer = threading.Timer(0.001, lambda: (seen.append(hasattr(local, "numbers")), done.set()))
        timer.start()
        done.wait()
        timer.join()
        assert seen == [False]
        """
        check(code, mode)

    @pytest.mark.skipif(
        sys.version_info < (3, 13), reason="threads that can be joined so are of 3.13"
    )
    @BOTH
    def test_what_dies_with_the_thread_dies_before_who_joins_it_goes_on(self, mode: Mode) -> None:
        """`threading.Thread` keeps its context itself from CPython 3.14 on; a thread of `_thread` does not."""
        code = """
        import _thread, contextvars
        variable = contextvars.ContextVar("variable")

        class Noting:
            def __del__(self):
                died_in.append(threading.get_ident())

        def work():
            variable.set(Noting())
            idents.append(threading.get_ident())

        for _ in range(3):  # the next one may be the same greenlet
            died_in, idents = [], []
            handle = _thread.start_joinable_thread(work)
            handle.join(30)
            assert handle.is_done() and died_in == idents, (died_in, idents)
        """
        check(code, mode)
