"""The table of calls in C: complete, as this Python has them, tested where a row promises something."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import pytest

from tests.green._foreign.native_calls import (
    KINDS,
    OPTIONAL,
    PAGE,
    ROWS,
    SINCE,
    UNTIL,
    WHOLE,
    render,
)
from tests.support import ROOT

NAMES = {row.name for row in ROWS}
VERSION = sys.version_info[:2]

# Modules that a Python may lack: gone, not yet there, or not compiled.
MAY_BE_MISSING = {
    "spwd",
    "_crypt",
    "_zstd",
    "_tkinter",
    "_dbm",
    "_gdbm",
    "_curses",
    "readline",
    "_sqlite3",
    "_interpreters",
    "_interpqueues",
}


def holder(name: str) -> Any:
    """The module or class of that name; None if this Python has none."""
    module, _, cls = name.partition(".")
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError:
        if module not in MAY_BE_MISSING:
            raise
        return None
    if not cls:
        return found
    if not hasattr(found, cls) and all(
        SINCE.get(row) is not None and SINCE[row] > VERSION
        for row in NAMES
        if row.startswith(f"{name}.")
    ):
        return None
    return getattr(found, cls)


def public(owner: Any) -> set[str]:
    kind = MethodDescriptorType if isinstance(owner, type) else BuiltinFunctionType
    return {
        name
        for name, value in vars(owner).items()
        if isinstance(value, kind) and not name.startswith("_")
    }


def test_a_function_has_one_row_and_a_known_class() -> None:
    assert len(NAMES) == len(ROWS), sorted(
        name for name in NAMES if [r.name for r in ROWS].count(name) > 1
    )
    assert {row.kind for row in ROWS} <= set(KINDS)
    assert {row.kind for row in ROWS} >= {"cooperative", "handed over", "tried again", "stays"}
    assert (SINCE.keys() | UNTIL.keys() | OPTIONAL) <= NAMES


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_is_left_out(name: str) -> None:
    owner = holder(name)
    if owner is None:
        pytest.skip(f"this Python has no {name}")
    listed = {row.rpartition(".")[2] for row in NAMES if row.rpartition(".")[0] == name}
    assert public(owner) <= listed, f"not in the table: {sorted(public(owner) - listed)}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_names_exist() -> None:
    wrong = []
    for name in sorted(NAMES):
        owner = holder(name.rpartition(".")[0])
        if owner is None or name in OPTIONAL:
            continue
        expected = SINCE.get(name, VERSION) <= VERSION and not UNTIL.get(name, (9, 9)) <= VERSION
        if hasattr(owner, name.rpartition(".")[2]) != expected:
            wrong.append(name)
    assert not wrong, f"there or gone unlike SINCE and UNTIL: {wrong}"


def test_what_is_promised_is_tested() -> None:
    trees: dict[str, ast.Module] = {}
    for row in ROWS:
        if row.kind in ("cannot wait", "stays", "holds the lock"):
            assert not row.test, row
            assert row.why or row.kind == "holds the lock", f"without a reason: {row}"
            continue
        file, *path = row.test.split("::")
        if file not in trees:
            trees[file] = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        body: Any = trees[file].body
        assert path, f"a file is no test: {row}"
        for part in path:
            found = [
                node
                for node in body
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part
            ]
            assert found, f"there is no such test: {row}"
            body = found[0].body


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        f"run: python -m {render.__module__} > {PAGE.relative_to(ROOT)}"
    )
