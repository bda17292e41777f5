"""Lines of JSON: how a stream is cut changes nothing, and a reader may start anew at any point."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trialbus.kernel.json_metric_lines import JsonMetricReader
from trialbus.kernel.line_streams import Point

PIECES = [
    b'{"loss": 1}', b'{"loss": "0.5", "acc": NaN}', b'{"acc": 2, "timestamp": 7}', b"{", b"}", b'"',
    b"\n", b"\r\n", b" ", b"\xff", b"[1]", b"x" * 50, b'{"loss": true}',
]  # fmt: skip
streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join)


def read_in_pieces(
    data: bytes, cuts: list[int], start: int = 0
) -> tuple[list[Point], JsonMetricReader]:
    reader = JsonMetricReader(["loss", "acc"], start=start, line_bytes=40)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    points: list[Point] = []
    for begin, end in itertools.pairwise(edges):
        points += reader.feed(data[begin:end], 0.0)
    return points + reader.finish(0.0), reader


@given(streams, st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_of_the_same_bytes_gives_the_same_points_offsets_and_counts(
    data: bytes, cuts: list[int]
) -> None:
    points, reader = read_in_pieces(data, cuts)
    whole, at_once = read_in_pieces(data, [])
    assert repr(points) == repr(whole)
    assert (reader.consumed, reader.skipped_lines, reader.malformed_lines) == (
        len(data),
        at_once.skipped_lines,
        at_once.malformed_lines,
    )


@given(streams, st.lists(st.integers(0, 2000), max_size=6))
def test_a_new_reader_from_any_points_end_gives_exactly_the_points_after_its_line(
    data: bytes, cuts: list[int]
) -> None:
    points, _ = read_in_pieces(data, cuts)
    for end in {point.end_byte for point in points}:
        again, _ = read_in_pieces(data[end:], cuts, start=end)
        assert repr(again) == repr([point for point in points if point.end_byte > end])
