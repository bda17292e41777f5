"""The framing of TensorFlow event files (TFRecord): length, its checksum, data, its checksum.

A file that is being written ends anywhere: what is not there in whole waits.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
_FRAME_BYTES = _HEADER.size + _CHECKSUM.size
# Longer ones are pictures and graphs; a checksum in Python costs a tenth of a microsecond a byte.
_MAX_CHECKED_BYTES = 64 * 1024
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """end: offset in the file after it. data: None if its checksum is wrong, or it was too long to
    be read."""

    end: int
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What a piece of a file holds. next_bytes: of the record that follows, as far as it is known:
    so much is needed to read it. broken: nothing after the last record can be read, ever."""

    records: Sequence[EventRecord]
    next_bytes: int = HEADER_BYTES
    broken: bool = False


def frames(data: bytes, at: int) -> Frames:
    """The whole records of `data`, which begins at offset `at` with a record."""
    records: list[EventRecord] = []
    start = 0
    while start + HEADER_BYTES <= len(data):
        length, checksum = _HEADER.unpack_from(data, start)
        if masked_crc(data[start : start + 8]) != checksum:
            return Frames(records=records, broken=True)
        end = start + length + _FRAME_BYTES
        if end > len(data):
            return Frames(records=records, next_bytes=length + _FRAME_BYTES)
        body = data[start + HEADER_BYTES : end - _CHECKSUM.size]
        (expected,) = _CHECKSUM.unpack_from(data, end - _CHECKSUM.size)
        good = length > _MAX_CHECKED_BYTES or masked_crc(body) == expected
        records.append(EventRecord(end=at + end, data=body if good else None))
        start = end
    return Frames(records=records)


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as TFRecord has it."""
    crc = _BITS
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= _BITS
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _BITS


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))
