"""What ``--list`` and ``--version`` print."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version
from types import ModuleType

from greenify._version import __version__

__all__ = ["table", "versions"]


def table(only: str | None, skip: str | None) -> str:
    """Everything that would be replaced, and by what, in columns.

    Raises:
        PatchError: see `greenify.patch_all`.
    """
    from greenify.patches import planned, planned_libraries
    from greenify.patches.record import MISSING, label

    rows = [("PATCH", "REPLACED", "BY")]
    for change in planned(only=only, skip=skip):
        inherited = change.before is MISSING and isinstance(change.owner, ModuleType)
        rows.append(
            (change.patch, change.where + (" (new)" if inherited else ""), label(change.after))
        )
    rows += planned_libraries(only=only, skip=skip)
    return "\n".join(columns(rows)) + "\n"


def columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """`rows` as lines, each column as wide as its longest text."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def versions() -> str:
    """The versions of greenify and of everything it runs on."""
    from greenify.core.loop import libuv_version, pyuv_origin, pyuv_version

    python = sys.version.split()[0]
    rows = [
        ("greenify", __version__),
        ("pyuv", f"{pyuv_version} ({pyuv_origin})"),
        ("libuv", libuv_version),
        ("greenlet", version("greenlet")),
        ("Python", f"{python} ({sys.implementation.name})"),
    ]
    return "\n".join(columns(rows)) + "\n"
