"""What the patch of a library is: data that names what is replaced, and by which remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["Library", "Remedy"]

Remedy = Callable[[Any], Any]
"""Makes what takes the place of an original; see `greenify.libraries.remedies`."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Library:
    """The patch of one library.

    Args:
        package: its name on PyPI.
        tested: the versions that it was tested with, in words: ``"5.0"``, ``"3.1 to 3.3"``.
        replace: what is replaced where: ``{"module": {"function": remedy}}``, ``{"module:Class": {"method":
            remedy}}``.  A name that ends with ``?`` need not exist.  A remedy gets what is stored there (the
            function inside of a `staticmethod` or `classmethod`) and returns what takes its place.
        native_threads: modules and packages whose threads are native (`green._foreign.library_threads`).
        finish: what that cannot express: module -> ``function(journal, module)``, called after the
            replacements; it writes through the journal only (`replace`, `replace_item`, `convert`,
            `on_undo`).
        stays: what goes on to block: name -> why, and what to do instead.
    """

    def __init__(
        self,
        *,
        package: str,
        tested: str,
        replace: Mapping[str, Mapping[str, Remedy]] = _NOTHING,
        native_threads: tuple[str, ...] = (),
        finish: Mapping[str, Callable[[Journal, ModuleType], object]] = _NOTHING,
        stays: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.package = package
        self.tested = tested
        self.replace = replace
        self.native_threads = native_threads
        self.finish = finish
        self.stays = stays

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules whose import the patch waits for: its row in `patches.selection.LIBRARIES`."""
        places = (place.partition(":")[0] for place in self.replace)
        return tuple(dict.fromkeys((*places, *self.finish, *self.native_threads)))
