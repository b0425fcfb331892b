"""``only`` and ``skip``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import greenify.patches
from greenify.errors import PatchError, UnknownPatchError
from greenify.patches.selection import ALIASES, NEEDS, ORDER, choose


class TestChoose:
    def test_everything_by_default(self) -> None:
        assert choose() == ORDER
        assert choose(None, ()) == ORDER

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
        assert choose(skip="ssl") == tuple(name for name in ORDER if name != "ssl")

    def test_unknown_names_are_all_named(self) -> None:
        with pytest.raises(UnknownPatchError) as caught:
            choose(["sokcet", "time", "threading", "zzz"])
        text = str(caught.value)
        assert text.startswith("only: ")
        assert "'sokcet' (did you mean 'socket'?)" in text
        assert "'threading' (did you mean 'thread'?)" in text
        assert "'zzz'; the patches are" in text
        assert text.endswith(", ".join(ORDER))
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
                assert ORDER.index(need) < ORDER.index(name)

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
