"""Tables of how objects are pickled, by class: what holds for a native one holds for its twin."""

from __future__ import annotations

import copyreg
from functools import partial
from types import MethodType, ModuleType
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
    table = dill.Pickler.dispatch
    save_method = table[MethodType]
    locks = frozenset(twins.values())

    def save(pickler: Any, method: MethodType) -> None:
        if type(method.__self__) in locks:
            # As those of C.  Its function would go by value, with all that it refers to: the class is not
            # found under its name, `_thread.lock`, before CPython 3.13.
            pickler.save_reduce(getattr, (method.__self__, method.__name__), obj=method)
        else:
            save_method(pickler, method)

    def extend(journal: Journal) -> None:
        _extend(journal, table, twins)
        journal.replace_item(table, MethodType, save)

    journal.apply("thread", (), extend)


def _extend(journal: Journal, table: Any, twins: dict[type, type]) -> None:
    for native, twin in twins.items():
        if native in table and twin not in table:
            journal.replace_item(table, twin, table[native])
