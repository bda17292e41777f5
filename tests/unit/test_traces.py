"""Trace contexts as W3C has them, and spans whose ids follow from what they tell of."""

import hashlib

import pytest

from trialbus.kernel.traces import (
    TraceContext,
    experiment_span,
    kept,
    parse_traceparent,
    request_span,
    run_span,
    trial_span,
    verdict_span,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = TraceContext(trace_id=TRACE, span_id=SPAN)


def test_a_context_survives_its_header() -> None:
    assert str(CONTEXT) == f"00-{TRACE}-{SPAN}-01"
    assert parse_traceparent(str(CONTEXT)) == CONTEXT
    unsampled = parse_traceparent(f"00-{TRACE}-{SPAN}-00")
    assert unsampled is not None and not unsampled.sampled
    assert str(unsampled) == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-03", True),  # a flag of a later level
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01", True),  # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-comes", True),
    ],
)
def test_later_versions_and_flags_are_read_as_far_as_they_are_known(
    header: str, sampled: bool
) -> None:
    found = parse_traceparent(header)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_context_is_ignored(header: str | None) -> None:
    assert parse_traceparent(header) is None


def test_a_document_keeps_a_context_only_where_somebody_keeps_the_trace() -> None:
    assert kept(str(CONTEXT)) == CONTEXT
    assert kept(f"00-{TRACE}-{SPAN}-00") is None
    assert kept(None) is None and kept("nonsense") is None


def test_the_ids_of_an_experiments_spans_follow_from_what_they_tell_of() -> None:
    """By hand: the first eight bytes of SHA-256 over the trace and the words."""
    words = {
        "experiment u1": experiment_span(CONTEXT, "u1"),
        "request u1:3": request_span(CONTEXT, "u1", 3),
        "trial u1.7": trial_span(CONTEXT, "u1", 7),
        "run u1.7.2": run_span(CONTEXT, "u1", 7, 2),
        "verdict u1.7.2": verdict_span(CONTEXT, "u1", 7, 2),
    }
    for said, span in words.items():
        expected = hashlib.sha256(f"{TRACE} {said}".encode()).hexdigest()[:16]
        assert (span.trace_id, span.span_id, span.sampled) == (TRACE, expected, True)
    assert len({span.span_id for span in words.values()}) == len(words)


def test_the_same_is_told_of_in_every_span_of_a_trace() -> None:
    """Whoever derives it, from whichever span of the trace."""
    elsewhere = trial_span(CONTEXT, "u1", 1)
    assert run_span(elsewhere, "u1", 1, 1) == run_span(CONTEXT, "u1", 1, 1)
    other = TraceContext(trace_id="a" * 32, span_id=SPAN)
    assert run_span(other, "u1", 1, 1).span_id != run_span(CONTEXT, "u1", 1, 1).span_id
