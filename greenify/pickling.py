"""What cannot be pickled says so in the words of the interpreter."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_to_pickle"]


_of_objects = getattr(object, "__getstate__", None)  # from CPython 3.11 on


def refuse_to_pickle(self: Any, protocol: Any) -> Any:
    """The ``__reduce_ex__`` of objects that stand for those of C which cannot be pickled or copied.

    A derived class may say how its own can be.
    """
    kind: Any = type(self)
    if kind.__reduce__ is not object.__reduce__:
        return self.__reduce__()
    if getattr(kind, "__getstate__", None) is not _of_objects:
        return object.__reduce_ex__(self, protocol)
    name = kind.__name__ if protocol < 2 else f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(f"cannot pickle {name!r} object")
