"""Finding references, in this very process; nothing of it is changed but objects of our own."""

from __future__ import annotations

import _thread
import gc
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from greenify.patches.places import Attribute, Element, Item, Member, PartialPart
from greenify.patches.references import Node, Search


class Token:
    """Stands for a native lock: every single reference to it is counted."""

    def take(self) -> None: ...


class Holder:
    def __init__(self, **values: object) -> None:
        vars(self).update(values)


class Slotted:
    __slots__ = ("one", "two")


@pytest.fixture(autouse=True)
def _no_garbage() -> Iterator[None]:
    # Dead objects of another test would be found, too.
    gc.collect()
    yield


def look(kind: type = Token) -> Any:
    """The results of a search for all instances of `kind`, in a form that keeps nothing alive."""
    search = Search([], {}, frozenset({kind}))
    try:
        return [
            {
                "places": [(type(p), p.owner, p.name) for n in node.tree() for p in n.places],
                "stuck": [where for n in node.tree() for where in n.stuck],
                "hidden": sum(n.hidden for n in node.tree()),
                "exempt": node.exempt,
            }
            for node in search.counted.values()
        ]
    finally:
        search.forget()


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(found) == 1
    assert found[0]["hidden"] == 0
    return found[0]


class TestPlaces:
    def test_attribute_of_an_instance(self) -> None:
        holder = Holder(lock=Token())
        found = only(look())
        assert found["places"] == [(Member, holder, "lock")]

    def test_slot(self) -> None:
        holder = Slotted()
        holder.two = Token()
        assert only(look())["places"] == [(Member, holder, "two")]

    def test_attribute_of_a_class(self) -> None:
        class Owner:
            lock = Token()

        assert only(look())["places"] == [(Attribute, Owner, "lock")]

    def test_attribute_of_a_module(self) -> None:
        module = ModuleType("sample_of_references")
        module.lock = Token()  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        try:
            assert only(look())["places"] == [(Attribute, module, "lock")]
        finally:
            del sys.modules[module.__name__]

    def test_module_that_is_registered_nowhere(self) -> None:
        module = ModuleType("sample_of_references")
        module.lock = Token()  # type: ignore[attr-defined]
        assert only(look())["places"] == [(Attribute, module, "lock")]

    def test_closure(self) -> None:
        def outer() -> Any:
            lock = Token()
            return lambda: lock

        inner = outer()
        (place,) = only(look())["places"]
        assert place == (Member, inner.__closure__[0], "cell_contents")

    def test_defaults(self) -> None:
        def function(a: int, lock: Any = Token(), *, other: Any = Token()) -> None: ...  # noqa: B008

        places = [place for found in look() for place in found["places"]]
        assert (Member, function, "__defaults__") in places
        assert (Item, function.__kwdefaults__, "other") in places
        assert len(places) == 2

    def test_containers(self) -> None:
        lock = Token()
        holder = Holder(
            by_name={"key": lock}, ordered=OrderedDict(key=lock), row=[0, lock], queue=deque([lock])
        )
        values = vars(holder)
        del lock
        places = only(look())["places"]
        assert len(places) == 4
        assert (Item, values["by_name"], "key") in places
        assert (Item, values["ordered"], "key") in places
        assert (Item, values["row"], 1) in places
        assert (Item, values["queue"], 0) in places

    def test_set(self) -> None:
        locks = {Token()}
        ((kind, owner, _),) = only(look())["places"]
        assert kind is Element
        assert owner is locks

    def test_partial(self) -> None:
        bound = partial(print, Token(), end="")
        assert only(look())["places"] == [(PartialPart, bound, "args")]

    def test_tuple_and_frozenset_are_rebuilt(self) -> None:
        lock = Token()
        holder = Holder(pair=(1, lock), fixed=frozenset([lock]))
        del lock
        places = only(look())["places"]
        assert sorted(name for _, _, name in places) == ["fixed", "pair"]
        assert all(owner is holder for _, owner, _ in places)

    def test_bound_method_of_a_native_lock(self) -> None:
        lock = _thread.allocate_lock()
        holder = Holder(acquire=lock.acquire, lock=lock)
        number = id(lock)
        del lock
        search = Search([], {}, frozenset({type(_thread.allocate_lock())}))
        try:
            node = search.counted[number]
            assert node.hidden == 0
            (method,) = node.derived
            assert method.hidden == 0
            assert [(p.owner, p.name) for p in method.places] == [(holder, "acquire")]
            new = threading.RLock()
            assert method.renewed({number: new}) == new.acquire
        finally:
            search.forget()

    def test_staticmethod(self) -> None:
        def function() -> None: ...

        class Owner:
            method = staticmethod(function)

        targets = [function]
        search = Search(targets, {}, frozenset())
        try:
            (node,) = search.nodes.values()
            (derived,) = node.derived
            assert [(p.owner, p.name) for p in derived.places] == [(Owner, "method")]
            assert derived.renewed({id(function): len}).__func__ is len
        finally:
            search.forget()


class TestWhatCannotBeReached:
    def test_variable_of_a_running_function(self) -> None:
        lock = Token()  # noqa: F841 - the reference is the test
        (stuck,) = only(look())["stuck"]
        assert stuck.startswith("the variable 'lock' of ")
        assert "test_variable_of_a_running_function() in " in stuck

    def test_variable_of_another_thread(self) -> None:
        started, ended = threading.Event(), threading.Event()

        def work() -> None:
            theirs = Token()  # noqa: F841
            started.set()
            ended.wait(10)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert started.wait(10)
            assert "the variable 'theirs' of " in only(look())["stuck"][0]
        finally:
            ended.set()
            thread.join(10)

    def test_paused_generator(self) -> None:
        def generate() -> Iterator[None]:
            lock = Token()
            yield
            lock.take()

        paused = generate()
        next(paused)
        (stuck,) = only(look())["stuck"]
        assert stuck.startswith("a variable of ")
        assert "generate() in " in stuck

    def test_running_with_block(self) -> None:
        lock = _thread.allocate_lock()
        holder = Holder(lock=lock)
        number = id(lock)
        with lock:
            del lock
            search = Search([], {}, frozenset({_thread.LockType}))
            node = search.counted[number]
            hidden = sum(n.hidden for n in node.tree())
            search.forget()
        assert hidden == 1
        assert holder.lock.locked() is False  # type: ignore[attr-defined]

    def test_key_of_a_dict(self) -> None:
        by_lock = {Token(): 1}
        assert only(look())["stuck"] == ["a key of a dict"]
        assert by_lock

    def test_object_of_a_c_type(self) -> None:
        held = enumerate(zip([Token()], strict=True))
        next(held)  # which keeps the tuple it has given out
        (found,) = look()
        assert found["hidden"] == 0
        assert [kind for kind, _, _ in found["places"]] == [Item]  # the list
        assert any(where.startswith("inside <builtins.") for where in found["stuck"])


class TestExempt:
    def test_greenifys_own(self) -> None:
        import greenify.errors

        token = Token()
        module: Any = greenify.errors
        module.held_for_test = [token]
        try:
            del token
            found = only(look())
        finally:
            del module.held_for_test
        assert found["exempt"]

    def test_wrapped_function_counts_as_its_module(self) -> None:
        # functools.wraps gives it the __module__ of what it wraps.
        source = (
            "def outer(token):\n"
            "    def inner(): return token\n"
            "    inner.__module__ = 'x'\n"
            "    return inner\n"
        )
        contents: dict[str, Any] = {"__name__": "greenify.sample"}
        exec(source, contents)
        held = [contents["outer"](Token())]
        assert only(look())["exempt"]
        assert held

    def test_native_functions_stay_in_their_own_modules(self) -> None:
        import posix

        targets = [posix.getpid]
        search = Search(targets, {}, frozenset())
        try:
            (node,) = search.nodes.values()
            owners = [place.owner for place in node.places]
            assert sys.modules["os"] in owners
            assert posix not in owners
        finally:
            search.forget()


class TestSearch:
    def test_leaves_nothing_behind(self) -> None:
        holder = Holder(lock=Token(), pair=(1, Token()))
        gc.disable()
        try:
            counts = [sys.getrefcount(vars(holder)["lock"])]
            for _ in range(3):
                for found in look():
                    assert found["hidden"] == 0
                    assert not found["stuck"]
                counts.append(sys.getrefcount(vars(holder)["lock"]))
        finally:
            gc.enable()
        assert len(set(counts)) == 1
        assert not [thing for thing in gc.get_objects() if type(thing) is Node]

    def test_frozen_heap(self) -> None:
        holder = Holder(lock=Token())
        gc.freeze()
        try:
            assert only(look())["places"] == [(Member, holder, "lock")]
            assert gc.get_freeze_count() > 2000
        finally:
            gc.unfreeze()

    def test_functions_that_only_modules_hold_cost_no_look_at_the_heap(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module: Any = ModuleType("sample_of_references")
        exec("def function(): pass", vars(module))
        sys.modules[module.__name__] = module
        looked: list[tuple[object, ...]] = []
        referrers = gc.get_referrers

        def get_referrers(*things: object) -> list[Any]:
            looked.append(things)
            return referrers(*things)

        monkeypatch.setattr(gc, "get_referrers", get_referrers)
        try:
            targets = [module.function]
            search = Search(targets, {}, frozenset())
            (node,) = search.nodes.values()
            assert [(p.owner, p.name) for p in node.places] == [(module, "function")]
            assert not any(thing is node.target for things in looked for thing in things)
            search.forget()
        finally:
            del sys.modules[module.__name__]
