"""What may fail on greenify's loop although it passes on libev, and why.  At most three rows."""

from __future__ import annotations

__all__ = ["EXPECTED"]

#: module -> (tests that may fail, the reason, which anybody can check).  A row whose tests all pass, or that
#: names a module or a test that does not exist, fails the run.
EXPECTED: dict[str, tuple[frozenset[str], str]] = {}
