"""What has arrived on a stream and has not been read yet."""

from __future__ import annotations

from collections import deque
from re import Pattern

__all__ = ["ReadBuffer"]

# A piece of at least so many bytes is handed on by itself rather than joined with what came after it.
_LARGE = 16_384


class ReadBuffer:
    """Bytes in the order in which they came.  Not to be touched from two OS threads at once.

    They are joined when somebody asks for more than the first piece.  A piece that is read as a whole, the
    usual case, is handed on without being copied.
    """

    __slots__ = ("_data", "_later", "_searched", "_size")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._later: deque[bytes] = deque()
        self._size = 0
        self._searched: tuple[bytes, int] = (
            b"",
            0,
        )  # a separator, and up to where it has been looked for

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Add a piece."""
        if self._size:
            self._later.append(data)
        else:
            self._data = data
        self._size += len(data)

    def _join(self) -> bytes | bytearray:
        have, later = self._data, self._later
        if later:
            if isinstance(have, bytes):
                self._data = have = bytearray().join((have, *later))
            else:
                for piece in later:
                    have += piece
            later.clear()
        return have

    def peek(self) -> bytes:
        """Everything, left where it is."""
        return bytes(self._join())

    def take_some(self, size: int) -> bytes:
        """Remove and return the first bytes: at most `size`, at least one if there are any."""
        first = len(self._data)
        return self.take(size if first < _LARGE else min(size, first))

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, or all if there are fewer."""
        if self._searched[1]:
            self._searched = (b"", 0)
        have = self._data if size <= len(self._data) else self._join()
        if size >= len(have):
            self._size -= len(have)
            self._data = self._later.popleft() if self._later else b""
            return bytes(have)
        self._size -= size
        if isinstance(have, bytes):
            # Cutting a piece off the front of a bytearray moves nothing.
            self._data = have = bytearray(have)
        with memoryview(have) as view:
            taken = bytes(view[:size])
        del have[:size]
        return taken

    def find(self, separator: bytes) -> int:
        """How many bytes there are up to the end of the first `separator`; -1: it has not come."""
        known, start = self._searched
        if known != separator:
            start = 0
        data = self._join()
        found = data.find(separator, start)
        if found >= 0:
            return found + len(separator)
        # Its first bytes may have come.
        self._searched = (separator, max(0, len(data) - len(separator) + 1))
        return -1

    def search(self, pattern: Pattern[bytes]) -> int:
        """How many bytes there are up to the end of the first match of `pattern`; -1: there is none."""
        found = pattern.search(self._join())
        return -1 if found is None else found.end()
