"""How a stream is cut into pieces changes nothing, and a reader may start anew after any point."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trialbus.kernel.line_streams import Point
from trialbus.kernel.metric_lines import LineParser, MetricFilter

LIMIT = 40
FILTERS = [MetricFilter.compile(), MetricFilter.compile([r"([\w|-]+)\s*[=:]\s*([-.\w]+)"])]
PIECES = [
    b"loss=0.5", b"acc = nan", b"loss=-inf", b"loss=", b"x", b"loss", b"=", b"1e999", b" ",
    b"\n", b"\r", b"\r\n", b"\x1b[31m", b"\x1b[K", b"\x1b", b"\x00", b"\xff", b"\xe2\x82\xac",
    b"2024-01-02T03:04:05.5Z ", b"y" * 30, b"z" * 90, b"val_loss=3",
]  # fmt: skip

streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join)
filters = st.sampled_from(FILTERS)


def read_in_pieces(
    data: bytes, cuts: list[int], metric_filter: MetricFilter, start: int = 0
) -> tuple[list[Point], LineParser]:
    parser = LineParser(metric_filter, ["loss", "acc"], line_bytes=LIMIT, start=start)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    points: list[Point] = []
    for begin, end in itertools.pairwise(edges):
        points += parser.feed(data[begin:end], 0.0)
    return points + parser.finish(0.0), parser


def by_hand(data: bytes, metric_filter: MetricFilter) -> tuple[list[Point], int]:
    """The plain way: one line at a time, each by a reader of its own."""
    points: list[Point] = []
    skipped = at = 0
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        end = min(at + len(line) + 1, len(data))
        if len(line) > LIMIT:
            skipped += 1
        else:
            own = LineParser(metric_filter, ["loss", "acc"], line_bytes=LIMIT)
            points += [point._replace(end_byte=end) for point in own.feed(line + b"\n", 0.0)]
        at = end
    return points, skipped


@given(streams, st.lists(st.integers(0, 2000), max_size=12), filters)
@example(b"loss=1\r\nloss=2", [7], FILTERS[0])
@example(b"z" * 41 + b"\nloss=1\n", [40, 41, 42], FILTERS[0])
@settings(max_examples=300)
def test_any_split_of_the_same_bytes_gives_the_same_points_offsets_and_counts(
    data: bytes, cuts: list[int], metric_filter: MetricFilter
) -> None:
    points, parser = read_in_pieces(data, cuts, metric_filter)
    expected, skipped = by_hand(data, metric_filter)
    assert repr(points) == repr(expected)
    assert parser.skipped_lines == skipped
    assert parser.consumed == len(data)


@given(streams, st.lists(st.integers(0, 2000), max_size=6), filters)
def test_a_new_reader_from_any_points_end_gives_exactly_the_points_after_its_line(
    data: bytes, cuts: list[int], metric_filter: MetricFilter
) -> None:
    points, _ = read_in_pieces(data, cuts, metric_filter)
    for end in {point.end_byte for point in points}:
        again, _ = read_in_pieces(data[end:], cuts, metric_filter, start=end)
        assert repr(again) == repr([point for point in points if point.end_byte > end])


@given(streams, st.integers(0, 2000), filters)
def test_a_new_reader_from_the_consumed_offset_loses_and_doubles_nothing(
    data: bytes, cut: int, metric_filter: MetricFilter
) -> None:
    cut %= len(data) + 1
    first = LineParser(metric_filter, ["loss", "acc"], line_bytes=LIMIT)
    before = first.feed(data[:cut], 0.0)
    after, _ = read_in_pieces(data[first.consumed :], [], metric_filter, start=first.consumed)
    whole, _ = read_in_pieces(data, [], metric_filter)
    assert repr(before + after) == repr(whole)


@given(st.binary(max_size=300), st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_at_all_hide_the_valid_lines_around_them(head: bytes, others: list[bytes]) -> None:
    data = head + b"\nloss=0.25\n" + b"\n".join(others) + b"\nacc=0.75\n"
    points = LineParser(FILTERS[0], ["loss", "acc"]).feed(data, 0.0)
    assert ("loss", 0.25) in [(point.metric, point.value) for point in points]
    assert points[-1][:2] == ("acc", 0.75)
