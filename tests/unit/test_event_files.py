"""TensorFlow's event files: frames, checksums, scalars, and which metric a tag is."""

import struct
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2

from trialbus_trial_launcher.app.sources.event_scalars import scalars_of, shortest
from trialbus_trial_launcher.core.event_records import HEADER_BYTES, frames, masked_crc
from trialbus_trial_launcher.core.event_tags import TagMetrics, best, metrics_of


def framed(data: bytes) -> bytes:
    """As TFRecord has it, with the other implementation's checksum."""

    def masked(part: bytes) -> int:
        crc = int(crc32c(part))
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def written(folder: Path) -> bytes:
    """A real file with loss 0.9, 0.8, ... at the times 100.25, 101.25, ..."""
    writer = SummaryWriter(str(folder))
    for step in range(5):
        writer.add_scalar("loss", 0.9 - 0.1 * step, step, walltime=100.25 + step)
    writer.add_histogram("weights", [1.0, 2.0, 3.0])
    writer.close()
    (path,) = folder.iterdir()
    return path.read_bytes()


def test_a_real_file_is_read_whole(tmp_path: Path) -> None:
    data = written(tmp_path)
    found = frames(data, 0)
    assert (found.records[-1].end, found.broken) == (len(data), False)
    events = [scalars_of(record.data or b"") for record in found.records]
    scalars = [
        (at, *scalar) for event in events if event for at in event[:1] for scalar in event[1]
    ]
    assert scalars == [
        (100.25, "loss", 0.9),
        (101.25, "loss", 0.8),
        (102.25, "loss", 0.7),
        (103.25, "loss", 0.6),
        (104.25, "loss", 0.5),
    ]


def test_a_file_that_is_being_written_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    data = written(tmp_path)
    ends = [record.end for record in frames(data, 0).records]
    for size in range(len(data)):
        found = frames(data[:size], 0)
        whole = [end for end in ends if end <= size]
        assert [record.end for record in found.records] == whole
        assert not found.broken
        at = whole[-1] if whole else 0
        if size - at >= HEADER_BYTES:
            assert at + found.next_bytes in ends
        rest = frames(data[at:], at)
        assert [record.end for record in rest.records] == ends[len(whole) :]


def test_a_record_with_a_wrong_checksum_is_passed_over() -> None:
    data = bytearray(framed(b"one") + framed(b"two") + framed(b"three"))
    data[19 + 12] ^= 1
    assert [record.data for record in frames(bytes(data), 0).records] == [b"one", None, b"three"]


def test_behind_a_wrong_length_nothing_is_read() -> None:
    data = bytearray(framed(b"one") + framed(b"two"))
    data[19] ^= 1
    found = frames(bytes(data), 7)
    assert [(record.data, record.end) for record in found.records] == [(b"one", 26)]
    assert found.broken


def test_the_checksum_is_crc_32c() -> None:
    # RFC 3720, B.4: of 32 bytes of zeros.
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def event(**value: object) -> bytes:
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="loss", **value)])
    data: bytes = event_pb2.Event(wall_time=5.5, summary=summary).SerializeToString()
    return data


def tensor(dtype: int, *sizes: int, **values: object) -> bytes:
    dimensions = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes]
    shape = tensor_shape_pb2.TensorShapeProto(dim=dimensions)
    return event(tensor=tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, **values))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (event(simple_value=0.9), 0.9),
        (event(simple_value=float("inf")), float("inf")),
        (tensor(1, float_val=[0.1]), 0.1),
        (tensor(1, 1, 1, tensor_content=struct.pack("<f", 0.1)), 0.1),
        (tensor(2, 1, tensor_content=struct.pack("<d", 0.1)), 0.1),
        (tensor(2, double_val=[0.1]), 0.1),
        (tensor(3, int_val=[-7]), -7.0),
        (tensor(9, tensor_content=struct.pack("<q", 1 << 40)), float(1 << 40)),
        (tensor(10, bool_val=[True]), 1.0),
        (tensor(19, half_val=[0x3800]), 0.5),
        (tensor(19, tensor_content=struct.pack("<e", 0.5)), 0.5),
        (tensor(14, half_val=[0x3F00]), 0.5),
        (tensor(14, tensor_content=b"\x00\x3f"), 0.5),
    ],
)
def test_scalars_are_numbers_and_tensors_of_one_element(data: bytes, value: float) -> None:
    assert scalars_of(data) == (5.5, [("loss", value)])


@pytest.mark.parametrize(
    "data",
    [
        tensor(1, 2, float_val=[0.1, 0.2]),
        tensor(1, 2, float_val=[0.1]),
        tensor(1, 0),
        tensor(1, float_val=[]),
        tensor(1, tensor_content=b"abc"),
        tensor(7, string_val=[b"0.5"]),
        tensor(8, scomplex_val=[1.0, 2.0]),
        event(image=summary_pb2.Summary.Image(height=1)),
    ],
)
def test_other_values_are_none(data: bytes) -> None:
    assert scalars_of(data) == (5.5, [])


def test_what_is_no_event_is_none() -> None:
    assert scalars_of(b"\xff\xff\xff") is None


@pytest.mark.parametrize("value", [0.9, 1e-30, 3.4028234663852886e38, 0.1, 16777217.0, -0.0, 1e-45])
def test_a_float_of_32_bits_is_the_shortest_number_that_stands_for_it(value: float) -> None:
    (as_float,) = struct.unpack("<f", struct.pack("<f", value))
    (back,) = struct.unpack("<f", struct.pack("<f", shortest(as_float)))
    assert back == as_float
    assert len(repr(shortest(as_float))) <= len(repr(as_float))


@pytest.mark.parametrize(
    ("tag", "folder", "exact", "maybe"),
    [
        ("accuracy", "logs", ("accuracy",), ()),
        ("accuracy", "logs/test", ("accuracy", "test/accuracy"), ()),
        ("accuracy", "logs/latest", ("accuracy",), ()),
        ("accuracy", "test/more", ("accuracy",), ()),
        ("test/accuracy", "logs", ("test/accuracy",), ()),
        ("accuracy_1", "logs", (), ("accuracy",)),
        ("accuracy_1", "logs/test", (), ("accuracy", "test/accuracy")),
        ("test/accuracy_1", "logs", (), ("test/accuracy",)),
        ("val_accuracy", "logs/test", (), ()),
    ],
)
def test_a_tag_is_the_metrics_of_its_name_and_folder(
    tag: str, folder: str, exact: tuple[str, ...], maybe: tuple[str, ...]
) -> None:
    found = metrics_of(tag, folder.split("/"), ("accuracy", "test/accuracy"))
    assert found == TagMetrics(exact=exact, maybe=maybe)


def test_of_longer_tags_the_shortest_is_taken_then_the_first() -> None:
    assert best({"loss_10", "loss_2", "loss_1"}) == "loss_1"
