"""The name of an object, and what an access review asks, in Kubernetes' protobuf.

The body is `k8s\\0` and a message `runtime.Unknown`, whose field 2 holds the object; the object's
field 1 is its metadata, whose field 1 is the name (apimachinery, runtime/generated.proto and
meta/v1/generated.proto).
"""

from collections.abc import Sequence
from typing import Any

_MAGIC = b"k8s\x00"
_RESOURCE_ATTRIBUTES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
_PATH_ATTRIBUTES = ("path", "verb")
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


def access_review_in(body: bytes) -> dict[str, Any] | None:
    """The spec of a SelfSubjectAccessReview; None: it is no such body."""
    spec = _review_spec(body)
    if spec is None:
        return None
    resource, path = _field(spec, 1), _field(spec, 2)
    if resource is not None:
        return {"resourceAttributes": _texts(resource, _RESOURCE_ATTRIBUTES)}
    return {} if path is None else {"nonResourceAttributes": _texts(path, _PATH_ATTRIBUTES)}


def rules_review_in(body: bytes) -> dict[str, Any] | None:
    """The spec of a SelfSubjectRulesReview, as above."""
    spec = _review_spec(body)
    return None if spec is None else _texts(spec, ("namespace",))


def _review_spec(body: bytes) -> bytes | None:
    """authorization/v1/generated.proto: the spec is field 2 of each review."""
    review = _field(body[len(_MAGIC) :], 2) if body.startswith(_MAGIC) else None
    return None if review is None else _field(review, 2)


def _texts(message: bytes, names: Sequence[str]) -> dict[str, Any]:
    """names: of the fields from 1 on; those that are there and not empty."""
    found = {name: _field(message, number) for number, name in enumerate(names, start=1)}
    return {name: it.decode("utf-8", "replace") for name, it in found.items() if it}


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
