"""The name of an object that a client sends in Kubernetes' protobuf.

The body is `k8s\\0` and a message `runtime.Unknown`, whose field 2 holds the object; the object's
field 1 is its metadata, whose field 1 is the name (apimachinery, runtime/generated.proto and
meta/v1/generated.proto).
"""

_MAGIC = b"k8s\x00"
_PATH = (2, 1, 1)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Of a number of 64 bits. Without an end it would take ever longer to read on.
_MAX_VARINT_BYTES = 10


def name_in(body: bytes) -> str | None:
    """None: it is no such body, or has no name."""
    if not body.startswith(_MAGIC):
        return None
    message: bytes | None = body[len(_MAGIC) :]
    for number in _PATH:
        message = None if message is None else _field(message, number)
    return None if message is None else message.decode("utf-8", "replace")


def _field(message: bytes, wanted: int) -> bytes | None:
    """The first field of this number that holds bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            if number == wanted:
                return message[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            return None
    return None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends; one that is cut off or too long ends there."""
    value = shift = 0
    end = min(len(message), at + _MAX_VARINT_BYTES)
    while at < end:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            break
    return value, at
