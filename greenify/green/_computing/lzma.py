"""lzma, with which tarfile and zipfile compress."""

from __future__ import annotations

import lzma
from typing import Any

from greenify.green._computing.streams import feeding, flushing, taking

__all__ = ["LONG_COMPRESSED", "LONG_PLAIN", "REPLACED"]

# 3 MiB/s of text are compressed at most; 80 come out of some 40 that go in.
LONG_PLAIN = 1 << 11
LONG_COMPRESSED = 1 << 13

_Compressor: Any = lzma.LZMACompressor
_Decompressor: Any = lzma.LZMADecompressor

#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {
    _Compressor: {
        "compress": feeding(_Compressor.compress, LONG_PLAIN),
        "flush": flushing(_Compressor.flush),
    },
    _Decompressor: {"decompress": taking(_Decompressor.decompress, LONG_COMPRESSED)},
}
