"""What has arrived on a stream and has not been read yet."""

from __future__ import annotations

from re import Pattern

__all__ = ["ReadBuffer"]


class ReadBuffer:
    """Bytes in the order in which they came.  Not to be touched from two OS threads at once.

    A single piece that is read as a whole, the usual case, is handed on without being copied.
    """

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._searched: tuple[bytes, int] = (
            b"",
            0,
        )  # a separator, and up to where it has been looked for

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add a piece."""
        have = self._data
        if not have:
            self._data = data
        elif have.__class__ is bytearray:
            have += data
        else:
            self._data = bytearray().join((have, data))

    def peek(self) -> bytes:
        """Everything, left where it is."""
        return bytes(self._data)

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, or all if there are fewer."""
        have = self._data
        if self._searched[1]:
            self._searched = (b"", 0)
        if size >= len(have):
            self._data = b""
            return bytes(have)
        if have.__class__ is not bytearray:
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
        found = self._data.find(separator, start)
        if found >= 0:
            return found + len(separator)
        # Its first bytes may have come.
        self._searched = (separator, max(0, len(self._data) - len(separator) + 1))
        return -1

    def search(self, pattern: Pattern[bytes]) -> int:
        """How many bytes there are up to the end of the first match of `pattern`; -1: there is none."""
        found = pattern.search(self._data)
        return -1 if found is None else found.end()
