"""bz2, with which tarfile and zipfile compress."""

from __future__ import annotations

import bz2
from typing import Any

from greenify.green._computing.streams import feeding, flushing, taking

__all__ = ["LONG_COMPRESSED", "LONG_PLAIN", "REPLACED"]

# 5 MiB/s of text are compressed, in blocks; 3 come out of one that goes in.
LONG_PLAIN = 1 << 13
LONG_COMPRESSED = 1 << 10

_Compressor: Any = bz2.BZ2Compressor
_Decompressor: Any = bz2.BZ2Decompressor
_compress = bz2.compress
_feed = _Compressor.compress
_rest = _Compressor.flush


def compress(data: Any, compresslevel: Any = 9) -> Any:
    """See `bz2.compress`."""
    try:
        long = len(data) >= LONG_PLAIN
    except TypeError:
        long = True
    if long:
        return _compress(data, compresslevel)  # with the methods that are replaced
    compressor = _Compressor(compresslevel)
    return _feed(compressor, data) + _rest(compressor)


#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {
    bz2: {"compress": compress},
    _Compressor: {"compress": feeding(_feed, LONG_PLAIN), "flush": flushing(_rest)},
    _Decompressor: {"decompress": taking(_Decompressor.decompress, LONG_COMPRESSED)},
}
