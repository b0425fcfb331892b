"""Tables of how objects are pickled, by class: what holds for a native one holds for its twin."""

from __future__ import annotations

import copyreg
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.patches.importing import when_imported

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["extend_reducers"]


def extend_reducers(journal: Journal, twins: dict[type, type]) -> None:
    """Give the twins the entries of the native classes (the keys), in `copyreg`'s table and in dill's."""
    _extend(journal, copyreg.dispatch_table, twins)
    when_imported(journal, "dill._dill", partial(_extend_dill, journal, twins))


def _extend_dill(journal: Journal, twins: dict[type, type], module: ModuleType) -> None:
    dill: Any = module
    journal.apply("thread", (), lambda journal: _extend(journal, dill.Pickler.dispatch, twins))


def _extend(journal: Journal, table: Any, twins: dict[type, type]) -> None:
    for native, twin in twins.items():
        if native in table and twin not in table:
            journal.replace_item(table, twin, table[native])
