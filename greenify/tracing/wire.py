"""Perfetto's trace format: the few messages of it that a trace needs, written and read.

A trace is a row of packets (protocol buffers), so it is valid wherever between two of them it ends.  What
changes from one event of a kind to the next is its time alone: the packet's bytes before it, its *head*, are
made once, and the time, always as many bytes, comes last.  An event then costs no more than two references.

Field numbers: ``protos/perfetto/trace/trace_packet.proto`` and ``track_event/`` beside it in Perfetto.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "BEGIN",
    "COUNTER",
    "END",
    "INSTANT",
    "STAMP",
    "STEP",
    "Stamps",
    "compressed",
    "descriptor",
    "fields",
    "head",
    "number_at",
    "packet",
    "packets",
    "process",
]

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4

#: How many bytes a time takes, and in steps of how many nanoseconds it is told.
STAMP = 9
STEP = 128

# Everything comes from one writer.  Its number is of interest to nobody, but has to be there.
_SEQUENCE = b"\x50\x01"

# Tracks of the same name are not drawn as one.
_NOT_MERGED = 2

_NANOSECONDS = 1


_SMALL = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """An integer of 64 bits, seven to a byte, the lowest first."""
    if 0 <= number < 128:
        return _SMALL[number]
    number &= 0xFFFF_FFFF_FFFF_FFFF
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def field(number: int, value: int | str | bytes) -> bytes:
    """A field: an integer, a text or a message."""
    if isinstance(value, int):
        return _INTEGER[number] + varint(value)
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace")
    size = len(value)
    return _BYTES[number] + (_SMALL[size] if size < 128 else varint(size)) + value


# What fields begin with, by their numbers.
_INTEGER = tuple(varint(number << 3) for number in range(128))
_BYTES = tuple(varint(number << 3 | 2) for number in range(128))

# What events begin with, by their kinds and tracks.
_openings: dict[tuple[int, int], bytes] = {}
_MOST = 10_000


def packet(message: bytes, room: int = 0) -> bytes:
    """A packet of a trace, of which the last `room` bytes come later."""
    return b"\x0a" + varint(len(message) + room) + message


def compressed(packets: bytes, level: int = 2) -> bytes:
    """One packet that holds others.  It lets go of the interpreter while it computes."""
    return packet(field(50, zlib.compress(packets, level)))


def process(uuid: int, pid: int, name: str, command: Sequence[str]) -> bytes:
    """The packet that describes the track of a process."""
    message = field(1, pid) + b"".join(field(2, word) for word in command) + field(6, name)
    return packet(_SEQUENCE + field(60, field(1, uuid) + field(3, message)))


def descriptor(
    uuid: int, name: str, parent: int, description: str, *, counter: str | None = None
) -> bytes:
    """The packet that describes a track.

    Args:
        description: what it is, which a viewer shows beside the name.
        counter: the unit, if it is one of numbers; ``"ns"`` is known to viewers.
    """
    message = field(1, uuid) + field(2, name) + field(5, parent)
    message += field(14, description) + field(15, _NOT_MERGED)
    if counter is not None:
        unit = field(3, _NANOSECONDS) if counter == "ns" else field(6, counter)
        message += field(8, unit)
    return packet(_SEQUENCE + field(60, message))


def head(
    kind: int,
    uuid: int,
    name: str = "",
    *,
    value: int | None = None,
    flow: int = 0,
    ends_flow: int = 0,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of an event up to its time, which has to follow.

    Args:
        kind: `BEGIN`, `END`, `INSTANT` or `COUNTER`.
        uuid: of the track.
        name: of the slice or the instant.
        value: of a counter.
        flow: the number of the arrow that begins here.
        ends_flow: that of the one that ends here.
        notes: texts that a viewer shows with it.
    """
    message = _openings.get((kind, uuid), b"")
    if not message:
        if len(_openings) >= _MOST:
            _openings.clear()
        message = _openings[kind, uuid] = field(9, kind) + field(11, uuid)
    if name:
        message += field(23, name)
    if value is not None:
        message += field(30, value)
    if flow:
        message += _FLOW + flow.to_bytes(8, "little")
    if ends_flow:
        message += _END_OF_FLOW + ends_flow.to_bytes(8, "little")
    for key, text in (notes or {}).items():
        message += field(4, field(10, key) + field(6, text))
    return packet(_SEQUENCE + field(11, message) + b"\x40", STAMP)


_FLOW = varint(47 << 3 | 1)
_END_OF_FLOW = varint(48 << 3 | 1)


class Stamps:
    """Times as bytes.  Always nine: a varint may be longer than it need be.

    In steps of `STEP`, so that what changes from one event to the next comes from a table that the
    processor has at hand: one for each nanosecond of the 16 us in which the other seven bytes stay made a
    switch take a third longer.
    """

    _top = (-1, b"")

    ONE = tuple(bytes((n | 0x80,)) for n in range(128))
    #: The lowest two, for the time within 16 us in such steps.
    LOW = tuple(b"\x80" + one for one in ONE)

    @classmethod
    def high(cls, number: int) -> bytes:
        """The seven others than the two lowest, for a time shifted right by 14."""
        top = cls._top
        if number >> 14 != top[0]:
            found = [number >> 7 * i & 0x7F | 0x80 for i in range(2, 7)]
            found[-1] &= 0x7F
            top = cls._top = (number >> 14, bytes(found))
        return cls.ONE[number & 0x7F] + cls.ONE[number >> 7 & 0x7F] + top[1]

    @classmethod
    def of(cls, now: int) -> bytes:
        """All nine."""
        return cls.LOW[now >> 7 & 0x7F] + cls.high(now >> 14)


# Reading.


def number_at(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, and where it ends.  IndexError: the data end before."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, each with its number.

    Raises:
        ValueError: that is none.
    """
    at = 0
    try:
        while at < len(message):
            key, at = number_at(message, at)
            kind = key & 7
            if kind == 0:
                value: int | bytes
                value, at = number_at(message, at)
            elif kind == 2:
                size, at = number_at(message, at)
                value, at = message[at : at + size], at + size
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                value, at = int.from_bytes(message[at : at + size], "little"), at + size
            else:
                raise ValueError("not a message of protocol buffers")
            yield key >> 3, value
    except IndexError:
        raise ValueError("a message that is cut off") from None


def packets(data: bytes) -> Iterator[bytes]:
    """The packets of a trace, compressed ones unpacked; one that is cut off at the end is left out.

    Raises:
        ValueError: that is no trace.
    """
    at = 0
    while at < len(data):
        if data[at] != 0x0A:
            raise ValueError("this is no trace of Perfetto's format")
        try:
            size, at = number_at(data, at + 1)
        except IndexError:
            return
        message = data[at : at + size]
        at += size
        if len(message) < size:
            return
        if message.startswith(_COMPRESSED):
            _, start = number_at(message, len(_COMPRESSED))
            yield from packets(zlib.decompress(message[start:]))
        else:
            yield message


_COMPRESSED = varint(50 << 3 | 2)
