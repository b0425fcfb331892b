"""bz2, lzma and zstd, which are alike: classes of C, and functions in Python that use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify.green._foreign import compute_with

__all__ = ["feeding", "flushing", "taking"]


def feeding(native: Any, limit: int) -> Callable[..., Any]:
    """In the place of the method ``compress(data, ...)`` of a compressor; `limit` in bytes."""

    def compress(self: Any, /, data: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            long = len(data) >= limit
        except TypeError:
            long = False
        if long:
            return compute_with(native, self, data, *args, **kwargs)
        return native(self, data, *args, **kwargs)

    return compress


def flushing(native: Any) -> Callable[..., Any]:
    """In the place of ``flush()``: it has a last block to compress, and nothing tells how large that is."""

    def flush(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return compute_with(native, self, *args, **kwargs)

    return flush


def taking(native: Any, limit: int) -> Callable[..., Any]:
    """In the place of the method ``decompress(data, max_length)`` of a decompressor."""

    def decompress(self: Any, /, data: Any, max_length: Any = -1) -> Any:
        try:
            long = len(data) >= limit
        except TypeError:
            long = False
        if long:
            return compute_with(native, self, data, max_length)
        return native(self, data, max_length)

    return decompress
