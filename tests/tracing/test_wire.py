"""The format: what is written is read again, also when its end is missing."""

from __future__ import annotations

import zlib

import pytest

from greenify.tracing import wire


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**32, 2**63 - 1])
def test_varint(number: int) -> None:
    assert wire.number_at(wire.varint(number), 0)[0] == number
    stamp = wire.Stamps.of(number)
    assert len(stamp) == wire.STAMP
    assert wire.number_at(stamp, 0) == (number - number % wire.STEP, wire.STAMP)


def test_negative_numbers_are_those_of_64_bits() -> None:
    assert wire.number_at(wire.varint(-1), 0)[0] == 2**64 - 1


def test_an_event() -> None:
    data = wire.head(
        wire.BEGIN, 7, "läuft", flow=3, ends_flow=2**40, notes={"a": "b"}
    ) + wire.Stamps.of(1280)
    (message,) = wire.packets(data)
    found = dict(wire.fields(message))
    assert found[8] == 1280
    event = found[11]
    assert isinstance(event, bytes)
    assert dict(wire.fields(event)) == {
        9: wire.BEGIN,
        11: 7,
        23: "läuft".encode(),
        47: 3,
        48: 2**40,
        4: wire.field(10, "a") + wire.field(6, "b"),
    }


def test_names_that_no_encoding_has() -> None:
    (message,) = wire.packets(wire.head(wire.BEGIN, 1, "\udcff") + wire.Stamps.of(1))
    assert b"udcff" in message


def test_a_trace_may_end_anywhere() -> None:
    one = wire.head(wire.END, 1) + wire.Stamps.of(5)
    data = one + wire.compressed(one + one) + one
    whole = list(wire.packets(data))
    assert len(whole) == 4
    found = {len(list(wire.packets(data[:size]))) for size in range(len(data) + 1)}
    assert found == {0, 1, 3, 4}


@pytest.mark.parametrize("data", [b"{}", b"\x0b\x01", b'[{"ph": "X"}]'])
def test_other_files_are_no_traces(data: bytes) -> None:
    with pytest.raises(ValueError, match="no trace"):
        list(wire.packets(data))


def test_a_block_that_is_broken() -> None:
    with pytest.raises(zlib.error):
        list(wire.packets(wire.packet(wire.field(50, b"nothing compressed"))))
