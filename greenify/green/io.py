"""The cooperative twin of `io`: files that wait for others (pipes, terminals, sockets, FIFOs).

Regular files get the standard objects: see `greenify.files` for those.
"""

from __future__ import annotations

import io as _stdlib
from typing import Any

from greenify.green._copies.rest import complete
from greenify.green._files.buffered import (
    CooperativeBufferedRandom as BufferedRandom,
)
from greenify.green._files.buffered import (
    CooperativeBufferedReader as BufferedReader,
)
from greenify.green._files.buffered import (
    CooperativeBufferedRWPair as BufferedRWPair,
)
from greenify.green._files.buffered import (
    CooperativeBufferedWriter as BufferedWriter,
)
from greenify.green._files.fileobject import (
    CooperativeFileIO as FileIO,
)
from greenify.green._files.fileobject import open

__all__ = ["BufferedRWPair", "BufferedRandom", "BufferedReader", "BufferedWriter", "FileIO", "open"]

complete(globals(), _stdlib)


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib)})
