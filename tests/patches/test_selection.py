"""``only`` and ``skip``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import greenify.patches
from greenify.errors import PatchError, UnknownPatchError
from greenify.patches.selection import ALIASES, LIBRARIES, NEEDS, ORDER, choose


class TestChoose:
    def test_everything_by_default(self) -> None:
        assert choose() == (*ORDER, *LIBRARIES)
        assert choose(None, ()) == choose()

    def test_order_is_ours(self) -> None:
        assert choose(["socket", "time"]) == ("time", "socket")

    @pytest.mark.parametrize(
        "names", ["time,socket", " time, socket ,", ["time", "socket"], {"time", "socket"}]
    )
    def test_forms(self, names: object) -> None:
        assert choose(names) == ("time", "socket")  # type: ignore[arg-type]

    def test_a_string_is_not_taken_letter_by_letter(self) -> None:
        assert choose("time") == ("time",)

    def test_nothing(self) -> None:
        assert choose([]) == ()
        assert choose("") == ()
        assert choose(["time"], ["time"]) == ()

    def test_skip(self) -> None:
        assert choose(skip="ssl") == tuple(name for name in choose() if name != "ssl")

    def test_libraries(self) -> None:
        assert choose("bcrypt") == ("bcrypt",)
        assert choose("bcrypt, time") == ("time", "bcrypt")
        assert "bcrypt" not in choose(skip=["bcrypt"])

    def test_a_library_that_lacks_something_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(NEEDS, "bcrypt", ("ssl",))
        assert "bcrypt" in choose() and "bcrypt" not in choose(skip="ssl")
        with pytest.raises(PatchError, match="'bcrypt' needs 'ssl': name that in only"):
            choose("bcrypt")

    def test_unknown_names_are_all_named(self) -> None:
        with pytest.raises(UnknownPatchError) as caught:
            choose(["sokcet", "time", "threading", "zzz"])
        text = str(caught.value)
        assert text.startswith("only: ")
        assert "'sokcet' (did you mean 'socket'?)" in text
        assert "'threading' (did you mean 'thread'?)" in text
        assert "'zzz'; the patches are" in text
        assert f"{', '.join(ORDER)}; of libraries: {', '.join(LIBRARIES)}" in text
        with pytest.raises(UnknownPatchError, match=r"^skip: "):
            choose(skip=["nope"])

    def test_error_is_also_a_value_error(self) -> None:
        with pytest.raises(ValueError):
            choose("nope")
        with pytest.raises(PatchError):
            choose("nope")

    def test_needs(self) -> None:
        with pytest.raises(PatchError, match="'ssl' needs 'socket': name that in only"):
            choose(["ssl"])
        with pytest.raises(PatchError, match="'ssl' needs 'socket': do not skip"):
            choose(skip=["socket"])
        assert choose(["ssl", "socket"]) == ("socket", "ssl")
        with pytest.raises(PatchError, match="'thread' needs 'queue': do not skip that, or skip"):
            choose(skip=["queue"])
        assert "queue" not in choose(skip=["queue", "thread"])


class TestTables:
    def test_needs_come_first(self) -> None:
        for name, needs in NEEDS.items():
            for need in needs:
                everything = (*ORDER, *LIBRARIES)
                assert everything.index(need) < everything.index(name)

    def test_aliases_lead_to_patches(self) -> None:
        assert set(ALIASES.values()) <= set(ORDER)
        assert not set(ALIASES) & set(ORDER)

    def test_every_file_of_patches_is_in_the_order(self) -> None:
        (folder,) = map(Path, greenify.patches.__path__)
        files = {
            path.stem
            for path in folder.glob("*.py")
            if re.search(r"^ *PATCHES\b", path.read_text(), re.M)
        }
        assert files == set(ORDER)

    def test_the_names_of_libraries_are_others(self) -> None:
        assert not set(ORDER) & set(LIBRARIES) and not set(ALIASES) & set(LIBRARIES)
