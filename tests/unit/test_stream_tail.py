"""From bytes of a stream to reports: whole lines, resumable, complete at the end."""

import pytest

from trialbus.contracts.chunks import ChunkReport
from trialbus.kernel.limits import MAX_CHUNK_POINTS
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.metric_lines import LineParser, MetricFilter
from trialbus_trial_launcher.app.tail import StreamTail


def reader(start: int) -> LineReader:
    return LineParser(MetricFilter.compile(()), ("loss", "accuracy"), start=start)


def tail() -> StreamTail:
    return StreamTail("u.0.1", reader)


def said(report: ChunkReport | None) -> tuple[int, int, dict[str, list[float]], bool]:
    """From, to, values by metric, final."""
    assert report is not None
    values = {series.metric: list(series.values) for series in report.series}
    return report.from_byte, report.to_byte, values, report.final


def test_there_is_nothing_to_say_before_a_line_is_whole() -> None:
    one = tail()
    assert one.next_report() is None
    one.feed(b"loss=1.", 10.0)
    assert one.next_report() is None
    one.feed(b"5\nloss=2", 11.0)
    assert said(one.next_report()) == (0, 9, {"loss": [1.5]}, False)


def test_lines_without_metrics_are_no_reason_to_speak() -> None:
    one = tail()
    one.feed(b"hello\nother=3\n", 10.0)
    assert one.next_report() is None
    one.feed(b"loss=1\n", 10.0)
    assert said(one.next_report()) == (0, 21, {"loss": [1.0]}, False)


def test_the_end_gives_the_last_line_and_is_said_once_all_is_read() -> None:
    one = tail()
    one.feed(b"loss=1\naccuracy=0.5 loss=2", 10.0)
    one.end(11.0)
    values = {"loss": [1.0, 2.0], "accuracy": [0.5]}
    assert said(one.next_report()) == (0, 26, values, True)


def test_a_run_that_printed_nothing_still_has_a_final_report() -> None:
    one = tail()
    one.end(10.0)
    assert said(one.next_report()) == (0, 0, {}, True)


def test_what_is_stored_is_not_said_again() -> None:
    one = tail()
    one.feed(b"loss=1\n", 10.0)
    one.resume_at(7)
    assert one.next_report() is None
    one.feed(b"loss=2\n", 11.0)
    assert said(one.next_report()) == (7, 14, {"loss": [2.0]}, False)


def test_an_answer_in_the_middle_drops_only_what_is_stored() -> None:
    """The collector stored a shorter report of an earlier life of the launcher."""
    one = tail()
    one.feed(b"loss=1\nloss=2\n", 10.0)
    one.resume_at(7)
    assert said(one.next_report()) == (7, 14, {"loss": [2.0]}, False)


@pytest.mark.parametrize("stored_to", [21, 0])
def test_a_chain_that_ends_elsewhere_is_read_again_from_there(stored_to: int) -> None:
    output = b"loss=1\nloss=2\nloss=3\nloss=4\n"
    one = tail()
    one.feed(output[:14], 10.0)
    one.resume_at(7)
    one.resume_at(stored_to)
    assert (one.read_to, one.stored_to) == (stored_to, stored_to)
    one.feed(output[one.read_to :], 11.0)
    one.end(11.0)
    rest = [1.0, 2.0, 3.0, 4.0][stored_to // 7 :]
    assert said(one.next_report()) == (stored_to, 28, {"loss": rest}, True)


def test_a_report_holds_a_chunk_of_points_at_most_and_never_part_of_a_line() -> None:
    line = b"loss=1 accuracy=2\n"
    one = tail()
    one.feed(b"loss=0\n" + line * MAX_CHUNK_POINTS, 10.0)
    one.end(10.0)
    reports: list[ChunkReport] = []
    while not (reports and reports[-1].final):
        report = one.next_report()
        assert report is not None
        assert sum(len(series.values) for series in report.series) <= MAX_CHUNK_POINTS
        assert (report.to_byte - 7) % len(line) == 0
        reports.append(report)
        one.resume_at(report.to_byte)
    assert [it.final for it in reports] == [False, False, True]
    stored = [value for it in reports for series in it.series for value in series.values]
    assert len(stored) == 1 + 2 * MAX_CHUNK_POINTS


def test_of_one_line_no_more_is_taken_than_can_be_sent() -> None:
    one = tail()
    one.feed(b" ".join([b"loss=1"] * (MAX_CHUNK_POINTS + 5)) + b"\nloss=2\n", 10.0)
    _, to_byte, values, _ = said(one.next_report())
    assert len(values["loss"]) == MAX_CHUNK_POINTS
    one.resume_at(to_byte)
    assert said(one.next_report())[2] == {"loss": [2.0]}
