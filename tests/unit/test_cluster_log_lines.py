"""A pod's log, taken up again after lost connections."""

import pytest

from trialbus.kernel.timestamps import in_utc
from trialbus_trial_launcher.core.log_lines import LogLines


def stamped(*lines: tuple[str, str]) -> bytes:
    return b"".join(f"2026-01-01T00:00:{at}Z {text}\n".encode() for at, text in lines)


A, B, C = ("01.000000001", "a"), ("01.000000002", "b"), ("02.500000000", "c")


def test_times_are_taken_off_and_lines_come_whole() -> None:
    lines = LogLines()
    data = stamped(A, B)
    assert lines.feed(data[:40]) + lines.feed(data[40:]) == b"a\nb\n"
    assert lines.at == 4


def test_a_last_line_needs_no_end() -> None:
    lines = LogLines()
    assert lines.feed(stamped(A) + b"2026-01-01T00:00:03Z half") == b"a\n"
    assert lines.finish() == b"half"
    assert (lines.at, lines.incomplete) == (6, False)


def test_after_a_lost_connection_no_line_is_lost_or_doubled() -> None:
    lines = LogLines()
    assert lines.feed(stamped(A, B) + b"2026-01-01T00:00:02.5") == b"a\nb\n"
    assert lines.since == "2026-01-01T00:00:01.000000002Z"
    lines.reconnected()
    # The server gives the whole second again.
    assert lines.feed(stamped(A, B, C)) == b"c\n"
    assert lines.finish() == b""
    assert not lines.incomplete


def test_equal_lines_of_one_moment_are_counted() -> None:
    lines = LogLines()
    assert lines.feed(stamped(A, A)) == b"a\na\n"
    lines.reconnected()
    assert lines.feed(stamped(A, A, A, B)) == b"a\nb\n"


def test_a_new_file_of_the_node_is_told() -> None:
    lines = LogLines()
    assert lines.feed(stamped(A, B)) == b"a\nb\n"
    lines.reconnected()
    assert lines.feed(stamped(C)) == b"c\n"
    assert lines.incomplete


def test_what_the_collector_has_is_passed_over() -> None:
    lines = LogLines(skip_to=2)
    assert lines.feed(stamped(A, B)) == b"b\n"
    assert (lines.at, lines.incomplete) == (4, False)


def test_a_log_that_is_shorter_than_what_was_read_is_another_one() -> None:
    lines = LogLines(skip_to=100)
    assert lines.feed(stamped(A)) == b""
    assert lines.finish() == b""
    assert (lines.at, lines.incomplete) == (100, True)


def test_a_place_within_a_line_is_of_another_file() -> None:
    lines = LogLines(skip_to=1)
    assert lines.feed(stamped(A)) == b"a\n"
    assert lines.incomplete


def test_a_node_that_writes_its_own_zones_time_may_leave_summer() -> None:
    lines = LogLines()
    assert lines.feed(b"2026-10-25T02:59:59.5+02:00 a\n") == b"a\n"
    lines.reconnected()
    # A new file, whose lines are later, though of an earlier hour by their digits.
    rest = b"2026-10-25T02:00:05.5+01:00 b\n2026-10-25T02:00:06.5+01:00 c\n"
    assert lines.feed(rest) == b"b\nc\n"
    assert lines.incomplete


def test_what_stands_where_a_time_should_is_taken_as_it_is() -> None:
    lines = LogLines()
    assert lines.feed(b"2026-99-99T02:59:59+02:00 a\nnothing b\n") == b"a\nb\n"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-10-25T02:00:05.123456789+01:00", "2026-10-25T01:00:05.123456789Z"),
        ("2026-12-31T19:30:00-05:00", "2027-01-01T00:30:00Z"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.5Z"),
        ("2026-13-01T00:00:00+01:00", "2026-13-01T00:00:00+01:00"),
        ("no time", "no time"),
    ],
)
def test_a_time_of_another_zone_keeps_its_digits_in_utc(text: str, utc: str) -> None:
    assert in_utc(text) == utc
