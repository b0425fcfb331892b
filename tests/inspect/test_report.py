"""Snapshots as text: what stands below what."""

from __future__ import annotations

from greenify.inspect.report import columns


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
