"""Values that are no numbers: what is one, how much of it is kept, and what comes of its trial."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialbus.cli.progress import parse_progress, plain_line, summary
from trialbus.contracts.chunks import ChunkReport
from trialbus.kernel.limits import MAX_CHUNK_TEXT_CHARS, MAX_PAYLOAD_BYTES, MAX_TEXT_CHARS
from trialbus.kernel.line_streams import Point
from trialbus.kernel.measurements import observe
from trialbus.kernel.metric_lines import LineParser, MetricFilter
from trialbus.kernel.metric_texts import metric_text
from trialbus.kernel.objective import Strategy
from trialbus.kernel.trial import MetricValues
from trialbus_metrics_collector.app.pushes import Point as Pushed
from trialbus_metrics_collector.app.pushes import _pieces
from trialbus_trial_launcher.app.tail import StreamTail

NAN = math.nan
OWN = MetricFilter.compile([r"(\w+)=(.*)"])


@pytest.mark.parametrize("written", ["Genotype(normal=[])", "[('skip', 0)]", "ok", " a b ", "λ"])
def test_what_says_something_is_a_text(written: str) -> None:
    assert metric_text(written) == written.strip()


@pytest.mark.parametrize(
    "written",
    ["", " ", "-", "--1", "0.5%", "1_000", "0x10", "1e", "٣", "None", "null", "nan,", "(inf)", "?"],
)
def test_what_says_nothing_or_is_a_broken_number_is_no_text(written: str) -> None:
    assert metric_text(written) == ""


def test_a_text_is_one_printable_line_and_says_where_it_was_cut() -> None:
    assert metric_text("a\x1b[31m\tb\ud800") == "a [31m b"
    assert metric_text("x" * MAX_TEXT_CHARS) == "x" * MAX_TEXT_CHARS
    long = "x" * MAX_TEXT_CHARS + "yz"
    assert metric_text(long) == "x" * MAX_TEXT_CHARS + "... (cut: 8194 characters)"


@given(st.text(max_size=40))
def test_what_is_kept_of_a_text_is_a_text_of_its_own_and_travels(written: str) -> None:
    kept = metric_text(written)
    assert kept == "" or metric_text(kept) == kept
    assert kept.encode().decode() == kept


def test_texts_are_numbered_and_summed_up_beside_numbers() -> None:
    points = [
        Point("m", 0.5, 1.0, 0),
        Point("m", NAN, 2.0, 0, "later"),
        Point("m", 0.25, 3.0, 0),
        Point("m", NAN, 3.0, 0, "last"),
    ]
    summary = observe(points)["m"]
    assert (summary.count, summary.min, summary.max, summary.text) == (2, 0.25, 0.5, "last")
    assert math.isnan(summary.latest)
    assert observe(points[:3])["m"].text == ""


@pytest.mark.parametrize(
    ("values", "strategy", "counted"),
    [
        (MetricValues(name="m", min=NAN, max=NAN, latest=NAN, text="a"), Strategy.MAX, "a"),
        (MetricValues(name="m", min=NAN, max=NAN, latest=NAN, text="a"), Strategy.LATEST, "a"),
        (MetricValues(name="m", min=1.0, max=2.0, latest=NAN, text="a"), Strategy.MAX, 2.0),
        (MetricValues(name="m", min=1.0, max=2.0, latest=NAN, text="a"), Strategy.LATEST, "a"),
        (MetricValues(name="m", min=1.0, max=2.0, latest=1.5), Strategy.LATEST, 1.5),
    ],
)
def test_numbers_count_before_texts_unless_the_latest_value_counts(
    values: MetricValues, strategy: Strategy, counted: float | str
) -> None:
    assert values.counted(strategy) == counted


def tail_of(data: bytes) -> list[ChunkReport]:
    """All reports of an output, each taken."""
    tail = StreamTail("u.0.1", lambda start: LineParser(OWN, ["m"], start=start))
    tail.feed(data, 1.0)
    tail.end(1.0)
    reports = []
    while (report := tail.next_report()) is not None:
        reports.append(report)
        if report.final:
            break
        tail.resume_at(report.to_byte)
    return reports


def test_long_texts_are_cut_into_chunks_that_can_be_sent() -> None:
    line = "m=" + "\N{GRINNING FACE}" * (MAX_TEXT_CHARS - 1) + "z"
    reports = tail_of(f"{line}\n".encode() * 10 + b"m=3\n")
    assert [len(report.series[0].values) for report in reports] == [4, 4, 3]
    assert all(len(report.to_bytes()) < MAX_PAYLOAD_BYTES for report in reports)
    assert reports[-1].series[0].texts == (line[2:], line[2:], "")


def test_one_line_gives_no_more_text_than_a_chunk_holds() -> None:
    tail = StreamTail(
        "u.0.1",
        lambda start: LineParser(MetricFilter.compile([r"(m)=(\S+)"]), ["m"], start=start),
    )
    tail.feed((b"m=" + b"x" * MAX_TEXT_CHARS + b" ") * 6 + b"\nm=1\n", 1.0)
    report = tail.next_report()
    assert report is not None
    assert report.series[0].texts is not None
    assert sum(map(len, report.series[0].texts)) <= MAX_CHUNK_TEXT_CHARS


def test_pushed_texts_are_cut_into_chunks_too() -> None:
    points = [Pushed(metric="m", value=NAN, text="x" * MAX_TEXT_CHARS) for _ in range(9)]
    assert [len(piece) for piece in _pieces(points)] == [4, 4, 1]
    assert list(_pieces([])) == []


def test_the_command_line_shows_a_text_in_full_at_the_end_and_shortened_before() -> None:
    genotype = "Genotype(" + "x" * 100 + ")"
    progress = parse_progress(
        {
            "namespace": "n",
            "name": "search",
            "phase": "Succeeded",
            "parallel": 1,
            "objective": {"name": "Best-Genotype"},
            "trials": {"succeeded": 1},
            "best": {"trial": "search-a", "value": genotype},
        }
    )
    assert f"  Best-Genotype = {genotype}" in list(summary(progress))
    assert f"best Best-Genotype={genotype[:57]}... (search-a)" in plain_line(progress)
