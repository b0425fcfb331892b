"""Can greenify run on this interpreter?  Asked when it is imported, before anything is patched.

A version of CPython that greenify has not been tested with has moved what greenify replaces, as each version
has; a program would fail somewhere in the middle, or hang.
"""

from __future__ import annotations

import os
import sys

from greenify._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NEWEST", "OVERRIDE", "import_at_once", "refusal"]

#: The newest version of CPython that greenify is tested with.
NEWEST = (3, 15)

#: The environment variable that makes greenify try on a newer one.
OVERRIDE = "GREENIFY_UNTESTED_PYTHON"


def refusal() -> str | None:
    """Why greenify does not run on this interpreter, in one sentence with the remedy; None if it does."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if "t" in getattr(sys, "abiflags", ""):
        return (
            f"greenify needs the GIL, and this is a free-threaded build of CPython {here}: use the ordinary "
            f"build ({sys.executable})"
        )
    if sys.version_info[:2] > NEWEST and os.environ.get(OVERRIDE, "") in ("", "0"):
        return (
            f"greenify {__version__} is not tested with CPython {here}, only up to {NEWEST[0]}.{NEWEST[1]}: "
            f"use a newer greenify or an older CPython, or set {OVERRIDE}=1 to try anyway"
        )
    return None


def import_at_once() -> None:
    """Have greenify's own imports done at once, where the interpreter makes every import lazy.

    That is CPython 3.15 with ``-X lazy_imports=all``.  What a lock looks up would be imported while it is
    being taken, and an import takes a lock.  What the program's own filter refuses stays refused.
    """
    here: Any = sys
    if getattr(here, "get_lazy_imports", lambda: "normal")() != "all":
        return
    others = here.get_lazy_imports_filter()

    def may_be_lazy(importing: str, imported: str, names: object) -> bool:
        if importing.partition(".")[0] in ("greenify", "greenlet"):
            return False
        return others is None or bool(others(importing, imported, names))

    here.set_lazy_imports_filter(may_be_lazy)
