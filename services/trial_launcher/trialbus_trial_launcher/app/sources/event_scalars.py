"""Scalars out of one event of TensorFlow, by its protocol messages (which load slowly: this module
is loaded on first use)."""

import math
import struct
from typing import Any

from google.protobuf.message import DecodeError
from tensorboardX.proto import event_pb2

from trialbus.kernel.timestamps import epoch_seconds
from trialbus_trial_launcher.app.sources.events import Scalars

# TensorFlow's number of a type -> its layout, and the field that holds its values.
_TYPES = {
    1: ("<f", "float_val"),
    2: ("<d", "double_val"),
    3: ("<i", "int_val"),
    4: ("<B", "int_val"),
    5: ("<h", "int_val"),
    6: ("<b", "int_val"),
    9: ("<q", "int64_val"),
    10: ("<?", "bool_val"),
    14: ("", "half_val"),
    17: ("<H", "int_val"),
    19: ("<e", "half_val"),
}
_FLOAT, _BFLOAT16, _HALF = 1, 14, 19
# A 32-bit float never needs more than the last of these.
_FLOAT_DIGITS = (6, 7, 8, 9)


def scalars_of(data: bytes) -> Scalars | None:
    """None: it is no event."""
    try:
        event = event_pb2.Event.FromString(data)
    except DecodeError:
        return None
    found = []
    for value in event.summary.value:
        kind = value.WhichOneof("value")
        number = None
        if kind == "simple_value":
            number = shortest(value.simple_value)
        elif kind == "tensor":
            number = _only_element(value.tensor)
        if number is not None:
            found.append((value.tag, number))
    return epoch_seconds(event.wall_time), found


def shortest(value: float) -> float:
    """The number that was meant: 0.9 becomes 0.899999976 as a 32-bit float, and 0.9 again here, as
    people see it printed."""
    if not math.isfinite(value):
        return value
    for digits in _FLOAT_DIGITS:
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", value):
            return short
    return value


def _only_element(tensor: Any) -> float | None:
    """None: not a number, or not one."""
    layout = _TYPES.get(tensor.dtype)
    if layout is None or any(dimension.size != 1 for dimension in tensor.tensor_shape.dim):
        return None
    pattern, field = layout
    if tensor.tensor_content:
        number = _unpacked(tensor.dtype, pattern, tensor.tensor_content)
    else:
        values = getattr(tensor, field)
        if len(values) != 1:
            return None
        number = float(values[0])
        if tensor.dtype in (_HALF, _BFLOAT16):
            number = _unpacked(tensor.dtype, pattern, struct.pack("<H", values[0] & 0xFFFF))
    return shortest(number) if number is not None and tensor.dtype == _FLOAT else number


def _unpacked(dtype: int, pattern: str, content: bytes) -> float | None:
    if dtype == _BFLOAT16:  # the upper half of a 32-bit float
        pattern, content = "<f", b"\0\0" + content
    if len(content) != struct.calcsize(pattern):
        return None
    return float(struct.unpack(pattern, content)[0])
