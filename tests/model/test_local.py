"""Thread-local data: what `threading.local` does, for real threads and for tasks."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from typing import Any, ClassVar

import pytest
from greenlet import greenlet

from greenify import core
from greenify import local as local_module
from greenify.event import Event
from greenify.local import local
from tests.model.threads import GREEN, LONG, Layer, both, settle, task_of


class Value:
    """Something that can be watched."""


class TestAttributes:
    @both
    def test_separate_for_every_thread(self, layer: Layer) -> None:
        data = layer.local()
        data.x = "main"

        def work(number: int) -> Any:
            assert not hasattr(data, "x")
            assert data.__dict__ == {}
            data.x = number
            core.sleep(0)
            assert data.__dict__ == {"x": number}
            assert vars(data) is data.__dict__
            return data.x

        jobs = [layer.start(work, number) for number in range(10)]
        assert [job.join() for job in jobs] == list(range(10))
        assert data.x == "main"
        del data.x
        with pytest.raises(AttributeError, match="'x'"):
            data.x  # noqa: B018
        with pytest.raises(AttributeError):
            del data.x

    @both
    def test_dict(self, layer: Layer) -> None:
        data = layer.local()
        data.__dict__["y"] = 2
        assert data.y == 2
        data.__dict__.update(a=1, b=2)
        assert {"a", "b", "y", "__class__"} <= set(dir(data))
        with pytest.raises(AttributeError, match="'__dict__' is read-only"):
            data.__dict__ = {}
        with pytest.raises(AttributeError, match="'__dict__' is read-only"):
            del data.__dict__
        layer.start(lambda: data.__dict__).join().update(c=3)
        assert not hasattr(data, "c")

    @both
    def test_names_that_are_no_strings(self, layer: Layer) -> None:
        class Equal:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        class Unequal:
            __hash__ = None  # type: ignore[assignment]

            def __eq__(self, other: object) -> bool:
                return False

        data: Any = layer.local()
        data.here = 1
        # CPython's own reads beyond the name's end for its message before 3.14.
        if layer is GREEN or sys.version_info >= (3, 14):
            with pytest.raises(AttributeError, match=r"local.*is read-only"):
                data.__setattr__(Equal(), 2)
        for name in (Unequal(), 5, None):
            with pytest.raises(TypeError):
                data.__setattr__(name, 2)
        assert data.__dict__ == {"here": 1}

    @both
    def test_class_attributes_are_defaults(self, layer: Layer) -> None:
        class Mine(layer.local):  # type: ignore[name-defined,misc]
            number = 1
            shared: ClassVar[list[int]] = []

            def method(self) -> Any:
                return self.number

        data = Mine()
        assert data.method() == 1
        data.number = 2
        assert data.method() == 2
        assert Mine.number == 1
        assert layer.start(data.method).join() == 1
        data.shared.append(1)
        assert layer.start(lambda: data.shared).join() == [1]
        del data.number
        assert data.number == 1
        with pytest.raises(AttributeError):
            del data.number

    @both
    def test_init_runs_in_every_thread(self, layer: Layer) -> None:
        calls: list[int] = []

        class Mine(layer.local):  # type: ignore[name-defined,misc]
            def __init__(self, start: int, /, *, step: int = 1) -> None:
                calls.append(start)
                self.values = [start, step]

        data = Mine(5, step=2)
        data.values.append("main")
        assert calls == [5]

        def work() -> Any:
            assert data.values == [5, 2]
            data.values.append("other")
            return data.values

        assert layer.start(work).join() == [5, 2, "other"]
        assert layer.start(lambda: dir(data)).join().count("values") == 1
        assert data.values == [5, 2, "main"]
        assert calls == [5, 5, 5]

    @both
    def test_init_that_fails_is_tried_again(self, layer: Layer) -> None:
        fail = [False]

        class Mine(layer.local):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                if fail[0]:
                    raise KeyError("not now")
                self.x = 1

        data = Mine()

        def work() -> Any:
            fail[0] = True
            with pytest.raises(KeyError, match="not now"):
                data.x  # noqa: B018
            fail[0] = False
            return data.x

        assert layer.start(work).join() == 1

    @both
    def test_arguments_need_an_init(self, layer: Layer) -> None:
        for arguments, keywords in (((1,), {}), ((), {"a": 1})):
            with pytest.raises(TypeError, match="Initialization arguments are not supported"):
                layer.local(*arguments, **keywords)

    @both
    def test_property_and_other_descriptors(self, layer: Layer) -> None:
        class Odd:
            """A data descriptor that does not show itself on the class."""

            def __get__(self, instance: Any, owner: Any) -> Any:
                if instance is None:
                    raise AttributeError("not on the class")
                return instance.__dict__.get("kept", "nothing")

            def __set__(self, instance: Any, value: Any) -> None:
                instance.__dict__["kept"] = value

            def __delete__(self, instance: Any) -> None:
                del instance.__dict__["kept"]

        class Mine(layer.local):  # type: ignore[name-defined,misc]
            odd = Odd()

            @property
            def double(self) -> int:
                return 2 * int(self.x)

            @double.setter
            def double(self, value: int) -> None:
                self.x = value // 2

            @staticmethod
            def static() -> str:
                return "static"

            @classmethod
            def made(cls) -> str:
                return cls.__name__

        data = Mine()
        data.double = 6
        assert data.x == 3 and data.double == 6
        assert "double" not in data.__dict__
        data.odd = 1
        assert data.odd == 1

        def work() -> Any:
            assert data.odd == "nothing"
            data.double = 20
            return data.x, data.odd

        assert layer.start(work).join() == (10, "nothing")
        assert data.x == 3
        del data.odd
        assert data.odd == "nothing"
        with pytest.raises(AttributeError):
            del data.double
        assert data.static() == "static" and data.made() == "Mine"

    @both
    def test_slots_are_shared(self, layer: Layer) -> None:
        class Mine(layer.local):  # type: ignore[name-defined,misc]
            __slots__ = ("slot",)

        data = Mine()
        data.slot = 1
        data.x = 1
        assert layer.start(lambda: (data.slot, hasattr(data, "x"))).join() == (1, False)

    @both
    def test_names_of_the_class_of_classes(self, layer: Layer) -> None:
        data = layer.local()
        # `type` has these, the class has not.
        data.__name__ = "mine"
        data.mro = 1
        assert data.__dict__ == {"__name__": "mine", "mro": 1}
        del data.mro

    @both
    def test_class_can_be_changed(self, layer: Layer) -> None:
        class One(layer.local):  # type: ignore[name-defined,misc]
            pass

        class Two(layer.local):  # type: ignore[name-defined,misc]
            pass

        data = One()
        data.x = 1
        data.__class__ = Two
        assert type(data) is Two and data.__class__ is Two and data.x == 1
        assert "__class__" not in data.__dict__

    @both
    def test_getattr_setattr_overridden(self, layer: Layer) -> None:
        class Mine(layer.local):  # type: ignore[name-defined,misc]
            def __getattr__(self, name: str) -> str:
                return f"no {name}"

            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name.upper(), value)

        data = Mine()
        data.x = 1
        assert data.X == 1 and data.x == "no x"
        assert layer.start(lambda: data.X).join() == "no X"

    @both
    def test_no_copies(self, layer: Layer) -> None:
        for function in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                function(layer.local())

    @both
    def test_identity_hash_and_truth(self, layer: Layer) -> None:
        one, other = layer.local(), layer.local()
        assert one == one and one != other
        assert len({one, other, one}) == 2
        assert bool(one) is True

    def test_raw_greenlets_are_the_thread_they_run_in(self) -> None:
        data = local()
        data.x = "main"

        def thread() -> Any:
            data.x = "thread"
            return greenlet(lambda: data.x).switch()

        assert GREEN.start(thread).join() == "thread"
        assert greenlet(lambda: data.x).switch() == "main"

    def test_the_hub_counts_as_the_main_greenlet(self) -> None:
        data = local()
        data.x = "main"
        seen: list[Any] = []
        core.get_hub().call_soon(lambda: seen.append(data.x))
        settle()
        assert seen == ["main"]


class TestLifetimes:
    @both
    def test_values_go_with_their_thread(self, layer: Layer) -> None:
        data = layer.local()
        watched: list[Any] = []

        def work() -> None:
            data.value = Value()
            watched.append(weakref.ref(data.value))

        for _ in range(10):
            job = layer.start(work)
            job.join()
            if layer is not GREEN:
                del job  # a real thread's values go when the interpreter has let go of the thread
        for _ in range(100):
            if all(reference() is None for reference in watched):
                break
            core.sleep(0.01)
        assert [reference() for reference in watched] == [None] * 10

    def test_values_go_when_the_task_fails_or_is_killed(self) -> None:
        data = local()
        watched: list[Any] = []

        def work() -> None:
            data.value = Value()
            watched.append(weakref.ref(data.value))
            core.sleep(LONG)

        for how in (KeyError, SystemExit):
            job = GREEN.start(work)
            settle()
            task_of(job).kill(how)
            assert task_of(job).join(LONG)
            assert watched.pop()() is None

    @both
    def test_values_go_with_the_local(self, layer: Layer) -> None:
        data = layer.local()
        watched: list[Any] = []
        go_on = layer.Event()

        def work() -> None:
            held[0].value = Value()
            watched.append(weakref.ref(held[0].value))
            go_on.wait(LONG)

        held = [data]
        data.value = Value()
        watched.append(weakref.ref(data.value))
        job = layer.start(work)
        layer.settle(lambda: len(watched) == 2)
        assert all(reference() is not None for reference in watched)
        del data
        held.clear()
        gc.collect()
        assert [reference() for reference in watched] == [None, None]
        go_on.set()
        job.join()

    @both
    def test_cycle_through_the_local(self, layer: Layer) -> None:
        data = layer.local()
        data.me = data
        data.value = Value()
        watched = weakref.ref(data.value)
        del data
        gc.collect()
        assert watched() is None

    def test_native_threads_free_theirs(self) -> None:
        data = local()
        watched: list[Any] = []

        def work() -> None:
            data.value = Value()
            watched.append(weakref.ref(data.value))

        for _ in range(20):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        del thread
        for _ in range(100):
            if all(reference() is None for reference in watched):
                break
            core.sleep(0.01)
        assert [reference() for reference in watched] == [None] * 20
        assert not local_module._dicts_of(data) or len(local_module._dicts_of(data)) == 1

    def test_destructors_may_use_thread_local_data(self) -> None:
        data = local()
        log: list[str] = []

        class Finalised:
            def __del__(self) -> None:
                log.append(getattr(data, "name", "no name"))
                data.name = "again"

        def work() -> None:
            data.value = Finalised()
            data.name = "first"

        GREEN.start(work).join()
        assert log and len(log) == 1
        # What the destructor has stored is gone as well.
        assert len(local_module._dicts_of(data)) == 1

    def test_locals_that_come_and_go_leave_nothing_in_their_thread(self) -> None:
        sizes: list[int] = []

        def work() -> None:
            kept = [local() for _ in range(10)]
            for _ in range(5000):
                local().x = 1
            task = core.get_hub()  # keeps the names apart
            assert task is not None and len(kept) == 10
            from greenify.identity import current_thread_greenlet

            thread: Any = current_thread_greenlet()
            sizes.append(len(thread.locals._references))

        GREEN.start(work).join()
        for _ in range(5000):
            local().x = 1
        sizes.append(len(local_module._native.touched._references))
        assert max(sizes) < 200

    def test_ends_while_it_waits_in_a_destructor(self) -> None:
        data = local()
        event = Event()
        log: list[Any] = []

        class Waits:
            def __del__(self) -> None:
                log.append(event.wait(LONG))

        def work() -> None:
            data.value = Waits()

        job = GREEN.start(work)
        settle()
        assert log == [] and task_of(job).alive
        event.set()
        assert task_of(job).join(LONG)
        assert log == [True]
