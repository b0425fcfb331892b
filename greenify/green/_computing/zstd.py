"""compression.zstd, from CPython 3.14 on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from greenify.green._computing.streams import feeding, taking

__all__ = ["LONG_COMPRESSED", "LONG_PLAIN", "REPLACED"]

# Some 100 MiB/s of text are compressed at the ordinary level; 700 come out of some 100 that go in.
LONG_PLAIN = 1 << 15
LONG_COMPRESSED = 1 << 15

try:
    _zstd: Any = import_module("_zstd")
except ModuleNotFoundError:  # there is none before, nor where it was not compiled
    _zstd = None

#: What is replaced, by what holds it.  `flush` has a block of 128 KiB at most to write.
REPLACED: dict[Any, dict[str, Any]] = {}

if _zstd is not None:
    REPLACED[_zstd.ZstdCompressor] = {
        "compress": feeding(_zstd.ZstdCompressor.compress, LONG_PLAIN)
    }
    REPLACED[_zstd.ZstdDecompressor] = {
        "decompress": taking(_zstd.ZstdDecompressor.decompress, LONG_COMPRESSED)
    }
