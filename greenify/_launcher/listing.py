"""What ``--list`` and ``--version`` print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
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
        ("greenify", f"{__version__} ({_build()})"),
        ("pyuv", f"{pyuv_version} ({pyuv_origin})"),
        ("libuv", libuv_version),
        ("greenlet", version("greenlet")),
        ("Python", f"{python} ({sys.implementation.name})"),
    ]
    return "\n".join(columns(rows)) + "\n"


def _build() -> str:
    """Which build of greenify this is: a wheel, by its tags, or the sources in a folder."""
    here = Path(__file__).resolve().parent.parent.parent
    try:
        found = distribution("greenify")
    except PackageNotFoundError:
        return f"sources in {here}"
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable")
    # What an editable installation leaves in the sources has no tags.
    if editable or not tags or Path(str(found.locate_file(""))) != here:
        return f"sources in {here}"
    return "wheel " + ", ".join(tags)
