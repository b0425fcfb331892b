"""Snapshots as text: what stands below what."""

from __future__ import annotations

from typing import Any

from greenify.inspect.answers import FIELDS
from greenify.inspect.report import columns, records, table


def answer(*names: str) -> dict[str, Any]:
    fields = {"kind": "thread", "state": "waiting", "what": "sleep"}
    rows = [
        [{**fields, "name": name, "ident": n}.get(key) for key in FIELDS]
        for n, name in enumerate(names)
    ]
    return {"fields": FIELDS, "rows": rows, "deadlocks": []}


def test_columns_of_a_terminal() -> None:
    # Two for each letter of the Far East, none for an accent behind its letter.
    rows = [
        ("name", "kind", "what"),
        ("日本", "a", "x"),
        ("e\u0301", "thread", "y"),
        ("ü", "b", "z"),
    ]
    assert list(columns(rows)) == [
        "name  kind    what",
        "日本  a       x",
        "e\u0301     thread  y",
        "ü     b       z",
    ]


def test_a_name_controls_no_terminal() -> None:
    made = answer("two\nlines", "\x1b[31mred", "\udc80")
    assert {row["name"] for row in records(made)} == {"two\\nlines", "\\x1b[31mred", "\\udc80"}
    assert {row["name"] for row in records(made, raw=True)} == {
        "two\nlines",
        "\x1b[31mred",
        "\udc80",
    }


def test_a_long_name_moves_its_own_line_only() -> None:
    lines = list(table(records(answer("x" * 300, "short"))))
    assert lines[0].startswith("NAME   KIND")
    assert lines[1].startswith("short  thread")
    assert lines[2].startswith("x" * 300 + "  thread")
