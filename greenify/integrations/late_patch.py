"""The patch of a process in which the program that is to be patched runs already, told in its own log."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from greenify.patches import changes, patch_all

__all__ = ["LatePatch", "patch_late"]


@dataclass(frozen=True)
class LatePatch:
    """What a patch has found.

    Attributes:
        made: how many changes it made; 0 if the process was patched before.
        adapted: how many of them were references and objects from before.
        out_of_reach: one line for each thing that stays native, or whose library's patch does not fit.
    """

    made: int
    adapted: int
    out_of_reach: tuple[str, ...]


def patch_late() -> LatePatch:
    """Call `patch_all` and collect what it would warn of.

    Raises:
        PatchError: as `patch_all`.
    """
    before = len(changes())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch_all()
    made = changes()[before:]
    texts = (
        "; ".join(line.strip() for line in str(warning.message).splitlines() if line.strip())
        for warning in caught
    )
    return LatePatch(len(made), sum(change.kind != "replaced" for change in made), tuple(texts))
