"""What is replaced in modules of the standard library that few programs import, when they do."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["replace_by_twins", "replace_methods"]


def replace_methods(journal: Journal, name: str, twins: str, module: ModuleType) -> None:
    """Under the patch `name`, apply what a file of `greenify.green` has for a module that has run.

    Args:
        twins: the file, as in ``_computing.zlib``; its ``REPLACED`` says what is replaced where.
    """
    replaced: dict[Any, dict[str, Any]] = import_module(f"greenify.green.{twins}").REPLACED
    journal.apply(name, [Patch(holder, replace=new) for holder, new in replaced.items()])


def replace_by_twins(journal: Journal, name: str, module: ModuleType) -> None:
    """Under the patch `name`, apply what `greenify.green` has for the module of that name, which has run."""
    green = import_module(f"greenify.green.{name}")
    journal.apply(
        name, [Patch(module, replace={each: getattr(green, each) for each in green.REPLACED})]
    )
