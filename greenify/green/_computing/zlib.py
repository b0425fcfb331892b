"""zlib, with which gzip and zipfile compress."""

from __future__ import annotations

import zlib
from typing import Any

from greenify.green._copies.builtin import bound_twin
from greenify.green._foreign import compute, compute_with

__all__ = ["LONG_COMPRESSED", "LONG_PLAIN", "REPLACED"]

# 22 MiB/s of text are compressed; 270 come out of some 130 that go in.
LONG_PLAIN = 1 << 14
LONG_COMPRESSED = 1 << 15

_COMPRESS = zlib.compress
_DECOMPRESS = zlib.decompress
_Compressor: Any = type(zlib.compressobj())
_Decompressor: Any = type(zlib.decompressobj())
_feed = _Compressor.compress
_take = _Decompressor.decompress
_rest = _Decompressor.flush


def _compress(module: Any, data: Any, /, *args: Any, **kwargs: Any) -> Any:
    try:
        long = len(data) >= LONG_PLAIN
    except NameError:  # in a copy: see `bound_twin`
        return module.compress(data, *args, **kwargs)
    except TypeError:
        long = False
    if long:
        return compute(_COMPRESS, data, *args, **kwargs)
    return _COMPRESS(data, *args, **kwargs)


# No parameter by keyword only, with which a call would cost twice as much.
def _decompress(
    module: Any, data: Any, /, wbits: Any = zlib.MAX_WBITS, bufsize: Any = zlib.DEF_BUF_SIZE
) -> Any:
    try:
        long = len(data) >= LONG_COMPRESSED
    except NameError:
        return module.decompress(data, wbits, bufsize)
    except TypeError:
        long = False
    if long:
        return compute(_DECOMPRESS, data, wbits, bufsize)
    return _DECOMPRESS(data, wbits, bufsize)


def _compress_more(self: Any, data: Any, /) -> Any:
    try:
        long = len(data) >= LONG_PLAIN
    except TypeError:
        long = False
    if long:
        return compute_with(_feed, self, data)
    return _feed(self, data)


def _decompress_more(self: Any, data: Any, /, max_length: Any = 0) -> Any:
    try:
        long = len(data) >= LONG_COMPRESSED
    except TypeError:
        long = False
    if long:
        return compute_with(_take, self, data, max_length)
    return _take(self, data, max_length)


def _flush(self: Any, /, *length: Any) -> Any:
    if len(self.unconsumed_tail) >= LONG_COMPRESSED:
        return compute_with(_rest, self, *length)
    return _rest(self, *length)


#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {
    zlib: {
        "compress": bound_twin(_COMPRESS, _compress),
        "decompress": bound_twin(_DECOMPRESS, _decompress),
    },
    _Compressor: {"compress": _compress_more},
    _Decompressor: {"decompress": _decompress_more, "flush": _flush},
}

# With which gzip reads, from CPython 3.12 on.
_Reader: Any = getattr(zlib, "_ZlibDecompressor", None)
if _Reader is not None:
    _read = _Reader.decompress

    def _read_more(self: Any, /, data: Any, max_length: Any = -1) -> Any:
        try:
            long = len(data) >= LONG_COMPRESSED
        except TypeError:
            long = False
        if long:
            return compute_with(_read, self, data, max_length)
        return _read(self, data, max_length)

    REPLACED[_Reader] = {"decompress": _read_more}
