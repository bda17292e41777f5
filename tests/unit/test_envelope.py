"""Events and replies survive the wire, read well to a person, and fail with the reason."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialbus.contracts.envelope import (
    Body,
    CommandReply,
    FieldProblem,
    decode_event,
    encode_event,
    quote_header,
)
from trialbus.contracts.messages import Message
from trialbus.kernel import ids, limits
from trialbus.kernel.errors import Poison, Problem
from trialbus.kernel.events import EVENT_TYPES, Event

EVENT = Event(
    id="0190-1:3:0",
    type="trial.failed",
    uid="3f0c9e1e-58c3-4c6b-8a2e-0d8f3b3f1a11",
    namespace="team-a",
    experiment="quick-start",
    at=1_795_289_846.25,
    trial="quick-start-bcdfghjk",
    reason="ExitCode",
    message="the command ended with 1",
    data={"exit_code": 1, "log_tail": "Größe: ∞"},
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def changed(message: Message, **headers: str | None) -> Message:
    """`message` with headers replaced (`_` for `-`), or removed by None."""
    merged: dict[str, str | None] = dict(message.headers)
    merged |= {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(message, headers={k: v for k, v in merged.items() if v is not None})


def test_an_event_is_a_cloud_event_that_a_person_can_read() -> None:
    message = encode_event(EVENT)
    assert message.subject == "trialbus.v1.evt.team-a.quick-start.trial.failed"
    assert message.id == "0190-1:3:0"
    assert message.headers == {
        "ce-specversion": "1.0",
        "ce-id": "0190-1:3:0",
        "ce-type": "io.trialbus.trial.failed.v1",
        "ce-source": "/trialbus/experiment",
        "ce-subject": "quick-start-bcdfghjk",
        "ce-time": "2026-11-21T19:37:26.250000Z",
        "ce-namespace": "team-a",
        "ce-experiment": "quick-start",
        "ce-experimentuid": "3f0c9e1e-58c3-4c6b-8a2e-0d8f3b3f1a11",
        "content-type": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert message.data.decode() == (
        '{"reason": "ExitCode", "message": "the command ended with 1", '
        '"data": {"exit_code": 1, "log_tail": "Größe: ∞"}}'
    )
    assert decode_event(message) == EVENT


def test_an_event_of_an_experiment_has_the_experiment_as_its_subject() -> None:
    event = replace(EVENT, type="experiment.created", trial=None, traceparent=None)
    message = encode_event(event)
    assert message.headers["ce-subject"] == "quick-start"
    assert decode_event(message) == event


_TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "\\NaN", "\\\\-Infinity", "xNaN"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.from_regex(ids.NAME_PATTERN, fullmatch=True)


@given(
    namespace=_NAMES,
    experiment=_NAMES,
    id_=st.text(min_size=1).filter(lambda it: it.isprintable()),
    type_=st.sampled_from(sorted(EVENT_TYPES)),
    reason=_TEXTS,
    message=_TEXTS,
    data=st.dictionaries(_TEXTS, _VALUES, max_size=5),
    microseconds=st.integers(0, 4_000_000_000_000_000),
)
def test_every_event_survives_the_wire(
    namespace: str,
    experiment: str,
    id_: str,
    type_: str,
    reason: str,
    message: str,
    data: dict[str, Any],
    microseconds: int,
) -> None:
    event = Event(
        id=id_,
        type=type_,
        uid="u",
        namespace=namespace,
        experiment=experiment,
        at=microseconds / 1e6,
        trial=f"{experiment}-x",
        reason=reason,
        message=message,
        data=data,
    )
    decoded = decode_event(encode_event(event))
    # Compared as text, because NaN is not equal to itself.
    assert repr(replace(decoded, at=0.0)) == repr(replace(event, at=0.0))
    assert decoded.at == pytest.approx(event.at, abs=1e-6)


def test_numbers_that_json_does_not_know_travel_as_words() -> None:
    data = {"loss": math.nan, "bounds": [-math.inf, math.inf], "text": "NaN", "note": "a NaN"}
    message = encode_event(replace(EVENT, data=data))
    body = json.loads(message.data)
    assert body["data"] == {
        "loss": "NaN",
        "bounds": ["-Infinity", "Infinity"],
        "text": "\\NaN",
        "note": "a NaN",
    }
    assert repr(decode_event(message).data) == repr(data)


def test_bytes_that_were_no_text_become_question_marks() -> None:
    message = encode_event(replace(EVENT, message="log \udc80 end"))
    assert decode_event(message).message == "log ? end"


def test_a_header_value_is_one_line_of_printable_ascii() -> None:
    message = encode_event(replace(EVENT, id="ä\r\nNats-Msg-Id: evil 100%", traceparent=None))
    assert message.headers["ce-id"] == "%C3%A4%0D%0ANats-Msg-Id:%20evil%20100%25"
    assert decode_event(message).id == "ä\r\nNats-Msg-Id: evil 100%"
    assert quote_header("plain-1.2/3") == "plain-1.2/3"


def test_attributes_and_fields_that_nobody_knows_are_tolerated() -> None:
    message = changed(encode_event(EVENT), ce_partition="7", x_other="y")
    body = json.loads(message.data) | {"newer": {"a": 1}}
    assert decode_event(replace(message, data=json.dumps(body).encode())) == EVENT


def test_a_newer_event_type_of_this_version_is_decoded() -> None:
    message = replace(
        changed(encode_event(EVENT), ce_type="io.trialbus.trial.paused.v1"),
        subject="trialbus.v1.evt.team-a.quick-start.trial.paused",
    )
    assert decode_event(message).type == "trial.paused"


def test_the_names_of_headers_have_no_case_and_the_charset_is_optional() -> None:
    message = changed(encode_event(EVENT), content_type="application/json; charset=utf-8")
    upper = {name.upper(): value for name, value in message.headers.items()}
    assert decode_event(replace(message, headers=upper)) == EVENT


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"ce_id": None}, "ce-id is missing"),
        ({"ce_type": None}, "ce-type is missing"),
        ({"ce_time": None}, "ce-time is missing"),
        ({"ce_experimentuid": None}, "ce-experimentuid is missing"),
        ({"ce_specversion": None}, "ce-specversion is missing"),
        ({"ce_specversion": "0.3"}, "CloudEvent 1.0"),
        ({"content_type": "text/plain"}, "JSON body"),
        ({"ce_type": "io.trialbus.trial.failed.v2"}, "version 1"),
        ({"ce_type": "com.example.trial.failed.v1"}, "version 1"),
        ({"ce_type": "io.trialbus.trial.created.v1"}, "the subject trial.failed"),
        ({"ce_time": "yesterday"}, "RFC 3339"),
        ({"ce_time": "2026-11-21T19:37:26"}, "time zone"),
    ],
)
def test_a_message_that_is_no_event_is_poison_with_the_reason(
    headers: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(Poison, match=reason):
        decode_event(changed(encode_event(EVENT), **headers))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"reason": 1}', "reason: .*string"),
        (b'{"data": []}', "data: .*dictionary|data: .*object"),
        (b"[" * 100_000, "JSON|recursion"),
        (b"\xff\xfe", "JSON|UTF-8"),
        (b"{" + b" " * limits.MAX_PAYLOAD_BYTES + b"}", "more than"),
    ],
)
def test_a_body_that_is_no_body_is_poison_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        decode_event(replace(encode_event(EVENT), data=data))


def test_a_foreign_subject_is_poison() -> None:
    with pytest.raises(Poison, match="not a subject of"):
        decode_event(replace(encode_event(EVENT), subject="other.trial.failed"))


def test_an_event_that_is_too_large_is_not_encoded() -> None:
    with pytest.raises(Poison, match="more than"):
        encode_event(replace(EVENT, data={"x": "y" * limits.MAX_PAYLOAD_BYTES}))


@pytest.mark.parametrize(
    "wrong", [{"type": "trial.exploded"}, {"experiment": "a.b"}, {"trial": "quick-start"}]
)
def test_an_event_outside_the_closed_set_or_with_wrong_names_is_not_encoded(
    wrong: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match=r"no such event type|not a name|cannot have"):
        encode_event(replace(EVENT, **wrong))  # type: ignore[arg-type]


def test_the_producer_is_the_one_of_the_event_type() -> None:
    sources = {
        name: encode_event(replace(EVENT, type=name, trial=None)).headers["ce-source"]
        for name in EVENT_TYPES
    }
    assert sources["run.finished"] == "/trialbus/trial_launcher"
    assert sources["metric.recorded"] == "/trialbus/metrics_collector"
    assert sources["experiment.created"] == "/trialbus/experiment"


def test_an_accepted_reply_says_what_was_accepted() -> None:
    reply = CommandReply(accepted=True, id="evt-1", uid="uid-1")
    assert json.loads(reply.to_bytes()) == {
        "accepted": True,
        "changed": True,
        "stale": False,
        "id": "evt-1",
        "uid": "uid-1",
        "problems": [],
        "message": "",
    }
    assert CommandReply.from_bytes(reply.to_bytes()) == reply


def test_a_refused_reply_lists_every_problem_with_its_field() -> None:
    problems = (Problem(field="spec.a", message="wrong"), Problem(field="", message="no"))
    reply = CommandReply.refused(problems)
    assert not reply.accepted
    assert CommandReply.from_bytes(reply.to_bytes()).problems == (
        FieldProblem(field="spec.a", message="wrong"),
        FieldProblem(field="", message="no"),
    )


def test_a_stale_reply_is_told_from_a_refused_one() -> None:
    reply = CommandReply.from_bytes(b'{"accepted": false, "stale": true, "newer": 1}')
    assert (reply.accepted, reply.stale, reply.problems) == (False, True, ())


def test_a_reply_without_its_verdict_is_poison() -> None:
    with pytest.raises(Poison, match="accepted: Field required"):
        CommandReply.from_bytes(b"{}")


class Points(Body):
    values: list[float]


def test_a_typed_body_keeps_nan_and_infinities() -> None:
    body = Points(values=[math.nan, math.inf, -math.inf, 0.1])
    assert body.to_bytes() == b'{"values":["NaN","Infinity","-Infinity",0.1]}'
    assert repr(Points.from_bytes(body.to_bytes())) == repr(body)


def test_a_typed_body_that_is_too_large_is_poison_on_both_ways() -> None:
    with pytest.raises(Poison, match="more than"):
        Points(values=[0.5] * limits.MAX_PAYLOAD_BYTES).to_bytes()
    with pytest.raises(Poison, match="more than"):
        Points.from_bytes(b'{"values":[]' + b" " * limits.MAX_PAYLOAD_BYTES + b"}")
