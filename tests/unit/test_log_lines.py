"""Lines of a log: chosen by time, told with times, cut at a size, whatever pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialbus_gateway.core.log_lines import LineOptions, LogLines

# 2026-01-02T03:04:06Z.
SINCE = 1_767_323_046.0
TEXT = (
    "before\n"
    "2026-01-02T03:04:05Z too old\n"
    "2026-01-02T03:04:06Z just so\n"
    "1999-01-01T00:00:00Z is only a date\n"
    "2026-13-02T03:04:06Z is none\n"
    "without an end"
)


def _shown(text: str, options: LineOptions, at: float, size: int = 1000) -> str:
    lines = LogLines(options)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    return "".join(lines.shown(piece, at) for piece in pieces) + lines.ending(at)


def test_what_follows_a_line_that_is_new_enough_is_newer() -> None:
    shown = _shown(TEXT, LineOptions(since_at=SINCE), at=SINCE - 100)
    assert shown == "".join(TEXT.splitlines(keepends=True)[2:])


def test_lines_without_times_have_that_of_reading() -> None:
    assert _shown("a\nb\n", LineOptions(since_at=SINCE), at=SINCE) == "a\nb\n"
    assert _shown("a\nb\n", LineOptions(since_at=SINCE), at=SINCE - 1) == ""
    stamped = _shown("a\nb", LineOptions(timestamps=True), at=SINCE + 0.25)
    assert stamped == "2026-01-02T03:04:06.250000Z a\n2026-01-02T03:04:06.250000Z b"


@pytest.mark.parametrize(("limit", "shown"), [(0, ""), (1, ""), (2, "ä"), (4, "äb\n"), (9, "äb\n")])
def test_a_limit_cuts_between_characters(limit: int, shown: str) -> None:
    lines = LogLines(LineOptions(limit_bytes=limit))
    assert lines.shown("äb\n", 0.0) == shown
    assert lines.full is (limit <= 4)
    assert lines.shown("c\n", 0.0) == ("c\n" if limit > 4 else "")


@given(st.text(alphabet="ab \n1Z", max_size=60), st.integers(1, 7))
def test_the_pieces_make_no_difference(text: str, size: int) -> None:
    for options in (LineOptions(), LineOptions(timestamps=True), LineOptions(limit_bytes=9)):
        assert _shown(text, options, SINCE, size) == _shown(text, options, SINCE)


@given(st.text(alphabet="ab\n\r\x0c", max_size=60))
def test_without_options_nothing_is_changed(text: str) -> None:
    assert _shown(text, LineOptions(), 0.0, 3) == text


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = LogLines(LineOptions())
    shown = "".join(lines.shown("x" * 500_000, 0.0) for _ in range(8))
    assert len(shown) > 2_000_000
