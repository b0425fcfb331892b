"""The record and the journal, on modules and classes of our own: nothing of the process is patched here."""

from __future__ import annotations

import threading
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from greenify.errors import PatchError, RestoreError
from greenify.patches.journal import Journal
from greenify.patches.places import Element, Item, Member, PartialPart, place_of
from greenify.patches.record import MISSING, Change, Patch, label


def module(**contents: object) -> Any:
    result = ModuleType("sample")
    vars(result).update(contents)
    return result


class Base:
    def inherited(self) -> str:
        return "inherited"


def make_class() -> Any:
    class Sample(Base):
        plain = 1

        @staticmethod
        def static() -> str:
            return "static"

        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

        @property
        def value(self) -> str:
            return "value"

        def method(self) -> str:
            return "method"

    return Sample


class TestPatch:
    @pytest.mark.parametrize("target", ["time", None, 3, Base()])
    def test_target_is_a_module_or_class_object(self, target: Any) -> None:
        with pytest.raises(TypeError, match="a module or class object"):
            Patch(target, replace={})

    def test_a_name_is_in_one_mapping(self) -> None:
        with pytest.raises(TypeError, match=r"in both replace and add: \['f'\]"):
            Patch(module(f=1), replace={"f": 2}, add={"f": 3})

    def test_is_immutable(self) -> None:
        names = {"f": 1}
        patch = Patch(module(f=0), replace=names)
        names["g"] = 2
        assert dict(patch.replace) == {"f": 1}
        with pytest.raises(TypeError):
            patch.replace["f"] = 3  # type: ignore[index]
        with pytest.raises(AttributeError):
            patch.replace = {}  # type: ignore[misc]


class TestApply:
    def test_module(self) -> None:
        target = module(f=1, g=2)
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"f": 10}, add={"h": 30}),))
        assert (target.f, target.g, target.h) == (10, 2, 30)
        assert journal.names() == {"sample"}
        journal.undo()
        assert (target.f, target.g) == (1, 2)
        assert not hasattr(target, "h")
        assert journal.names() == frozenset()

    def test_class_attributes_come_back_exactly(self) -> None:
        target = make_class()
        before = dict(vars(target))
        journal = Journal()
        names = ("plain", "static", "of_class", "value", "method")
        journal.apply("sample", (Patch(target, replace=dict.fromkeys(names, len)),))
        assert all(vars(target)[name] is len for name in names)
        journal.undo()
        assert dict(vars(target)) == before
        assert all(vars(target)[name] is before[name] for name in names)

    def test_inherited_attribute_is_deleted_again(self) -> None:
        target = make_class()
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"inherited": lambda self: "new"}),))
        assert target().inherited() == "new"
        assert journal.changes()[0].before is MISSING
        journal.undo()
        assert "inherited" not in vars(target)
        assert target().inherited() == "inherited"

    def test_subclasses_and_instances_see_it(self) -> None:
        target = make_class()
        child = type("Child", (target,), {})
        instance = child()
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"method": lambda self: "new"}),))
        assert instance.method() == "new"

    def test_unknown_name(self) -> None:
        with pytest.raises(
            PatchError, match=r"sample has no attribute 'slepp' \(did you mean 'sleep'"
        ):
            Journal().apply("sample", (Patch(module(sleep=1), replace={"slepp": 2}),))

    def test_add_of_what_is_there(self) -> None:
        with pytest.raises(PatchError, match="sample has 'f' already"):
            Journal().apply("sample", (Patch(module(f=1), add={"f": 2}),))

    def test_all_or_nothing(self) -> None:
        target, cls = module(f=1, g=2), make_class()
        before = dict(vars(cls))
        undone: list[str] = []

        def finish(journal: Journal) -> None:
            journal.on_undo(lambda: undone.append("hook"))
            journal.replace(cls, "plain", 2)
            raise ZeroDivisionError

        journal = Journal()
        with pytest.raises(ZeroDivisionError):
            journal.apply("sample", (Patch(target, replace={"f": 3}, add={"n": 4}),), finish)
        assert (target.f, hasattr(target, "n")) == (1, False)
        assert dict(vars(cls)) == before
        assert undone == ["hook"]
        assert journal.changes() == ()

    def test_class_written_in_c(self) -> None:
        target = module(f=1)
        with pytest.raises(PatchError, match=r"list\.append cannot be replaced"):
            Journal().apply(
                "sample",
                (Patch(target, replace={"f": 2}), Patch(list, replace={"append": len})),
            )
        assert target.f == 1

    def test_two_patches_of_one_attribute(self) -> None:
        target = module(f=1)
        journal = Journal()
        journal.apply("one", (Patch(target, replace={"f": 2}),))
        with pytest.raises(PatchError, match=r"sample.f has been replaced by the patch 'one'"):
            journal.apply("two", (Patch(target, replace={"f": 3}),))
        assert target.f == 2

    def test_outer_transaction_undoes_inner_ones(self) -> None:
        target = module(f=1, g=2)
        journal = Journal()
        with pytest.raises(ZeroDivisionError), journal.transaction():
            journal.apply("one", (Patch(target, replace={"f": 10}),))
            journal.apply("two", (Patch(target, replace={"g": 20}),))
            raise ZeroDivisionError
        assert (target.f, target.g) == (1, 2)

    def test_preview_changes_nothing(self) -> None:
        target = module(f=1)
        changes = list(Journal().preview("sample", (Patch(target, replace={"f": 2}),)))
        assert [(c.where, c.before, c.after) for c in changes] == [("sample.f", 1, 2)]
        assert target.f == 1


class TestUndo:
    def test_refuses_to_undo_over_a_later_patch(self) -> None:
        target = module(f=1, g=2, h=3)
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"f": 10, "g": 20, "h": 30}),))
        target.f = target.h = "theirs"
        with pytest.raises(
            RestoreError, match=r"sample\.f is now 'theirs'; sample\.h is now 'theirs'"
        ):
            journal.undo()
        assert (target.f, target.g, target.h) == ("theirs", 20, "theirs")
        target.f, target.h = 10, 30
        journal.undo()
        assert (target.f, target.g, target.h) == (1, 2, 3)

    def test_deleted_by_somebody_else(self) -> None:
        target = module(f=1)
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"f": 10}),))
        del target.f
        with pytest.raises(RestoreError, match=r"sample\.f is now .*MISSING|sample\.f"):
            journal.undo()

    def test_by_name(self) -> None:
        target = module(f=1, g=2)
        journal = Journal()
        journal.apply("one", (Patch(target, replace={"f": 10}),))
        journal.apply("two", (Patch(target, replace={"g": 20}),))
        journal.undo(["one"])
        assert (target.f, target.g) == (1, 20)
        assert journal.names() == {"two"}

    def test_in_reverse_order(self) -> None:
        order: list[int] = []

        def finish(journal: Journal) -> None:
            for number in range(3):
                journal.on_undo(lambda n=number: order.append(n))  # type: ignore[misc]

        journal = Journal()
        journal.apply("sample", (), finish)
        journal.undo()
        assert order == [2, 1, 0]

    def test_what_the_program_has_stored_itself_stays(self) -> None:
        target, cls = module(f=1), make_class()
        instance = cls()
        instance.lock = "native"
        journal = Journal()
        journal.rebind(place_of(target, "f"), 2, kind="rebound", patch="sample")
        journal.convert(instance, "lock", "green")
        target.f = "another"
        instance.lock = "another"
        journal.undo()
        assert (target.f, instance.lock) == ("another", "another")

    def test_no_change_is_kept(self) -> None:
        journal = Journal()
        journal.undo()
        assert journal.changes() == ()


class TestReading:
    def test_original(self) -> None:
        target, cls = module(f=1, g=2), make_class()
        journal = Journal()
        journal.apply(
            "sample",
            (
                Patch(target, replace={"f": 10}, add={"new": 3}),
                Patch(cls, replace={"static": len, "inherited": len, "of_class": len}),
            ),
        )
        assert journal.original(target, "f") == 1
        assert journal.original(target, "g") == 2
        assert journal.original(cls, "static")() == "static"  # type: ignore[operator]
        assert journal.original(cls, "of_class")() == "Sample"  # type: ignore[operator]
        assert journal.original(cls, "inherited") is Base.inherited
        for name in ("new", "never"):
            with pytest.raises(AttributeError, match=name):
                journal.original(target, name)

    def test_changes(self) -> None:
        target = module(f=1)
        journal = Journal()
        journal.apply("sample", (Patch(target, replace={"f": len}),))
        (change,) = journal.changes()
        assert (change.patch, change.kind, change.owner, change.name) == (
            "sample",
            "replaced",
            target,
            "f",
        )
        assert (change.before, change.after) == (1, len)
        assert str(change) == "sample.f -> len"

    def test_from_several_threads(self) -> None:
        target = module(**{f"f{n}": n for n in range(200)})
        journal = Journal()
        barrier = threading.Barrier(4)

        def work(first: int) -> None:
            barrier.wait(10)
            for n in range(first, 200, 4):
                journal.apply(f"p{n}", (Patch(target, replace={f"f{n}": -1}),))
                journal.changes()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(journal.changes()) == 200
        journal.undo()
        assert all(vars(target)[f"f{n}"] == n for n in range(200))


class TestPlaces:
    def test_module_with_its_own_setattr(self) -> None:
        class Strict(ModuleType):
            def __setattr__(self, name: str, value: object) -> None:
                raise AttributeError("frozen")

        target = Strict("strict")
        vars(target)["f"] = 1
        place_of(target, "f").write(2)
        assert target.f == 2

    def test_instance_with_its_own_setattr(self) -> None:
        class Strict:
            __slots__ = ("inner",)

            def __setattr__(self, name: str, value: object) -> None:
                raise AttributeError("frozen")

        instance = Strict()
        object.__setattr__(instance, "inner", 1)
        place = Member(instance, "inner")
        assert place.read() == 1
        place.write(2)
        assert instance.inner == 2
        place.write(MISSING)
        assert place.read() is MISSING

    def test_value_behind_a_property(self) -> None:
        class Hidden:
            @property
            def lock(self) -> str:
                raise AssertionError("not to be asked")

        instance = Hidden()
        vars(instance)["lock"] = 1
        place = Member(instance, "lock")
        assert place.read() == 1
        place.write(2)
        assert vars(instance)["lock"] == 2

    def test_dict_with_its_own_setitem(self) -> None:
        class Strict(dict[str, int]):
            def __setitem__(self, key: str, value: int) -> None:
                raise AssertionError("not to be asked")

        target = Strict(a=1)
        Item(target, "a").write(2)
        assert target == {"a": 2}

    def test_element_of_a_set(self) -> None:
        target = {1, 2}
        place = Element(target, 1)
        place.write(3)
        assert (target, place.read()) == ({2, 3}, 3)

    def test_partial(self) -> None:
        target = partial(max, 1, key=abs)
        PartialPart(target, "func").write(min)
        PartialPart(target, "args").write((5, 6))
        assert (target.func, target.args, target.keywords) == (min, (5, 6), {"key": abs})
        assert target(-4) == -4


class TestLabel:
    @pytest.mark.parametrize(
        ("thing", "text"),
        [
            (threading, "threading"),
            (threading.Thread.start, "threading.Thread.start"),
            (staticmethod(threading.Thread.start), "threading.Thread.start"),
            (len, "len"),
            (None, "None"),
            ("text", "'text'"),
            (3, "3"),
        ],
    )
    def test_names(self, thing: object, text: str) -> None:
        assert label(thing) == text

    def test_contents_are_not_shown(self) -> None:
        assert label({"password": "secret"}).startswith("<builtins.dict at 0x")

    def test_change_in_a_container(self) -> None:
        change = Change("p", "rebound", {}, "key", 1, len)
        assert change.where.endswith("['key']")
