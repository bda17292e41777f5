"""Words of workers as they come over the bus: read, or refused with every problem."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.messages import Request
from trialbus.contracts.work import Ask, Heartbeat, Release, Reports, Tell, WorkVerb
from trialbus.contracts.work_events import (
    event_type,
    named,
    read_unnamed,
    read_work,
)
from trialbus.kernel.errors import Poison, Problem, Refused
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES, MAX_PROBLEMS

HELD = {"trial": "digits-abc", "attempt": 1}
REPORT = {**HELD, "metrics": {"loss": 0.5}, "step": 3}
RESULT = {**HELD, "metrics": {"loss": 0.25}}
GOOD: Mapping[str, dict[str, Any]] = {
    "ask": {"id": "a-1"},
    "report": {"reports": [REPORT]},
    "heartbeat": {"trials": [HELD]},
    "tell": {"results": [RESULT]},
    "release": {"trials": [HELD]},
}


def request(verb: str, body: Any, headers: Mapping[str, str] | None = None) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    subject = subjects.command("default", "digits", verb)
    return Request(subject=subject, data=data, headers=headers or {})


def structured(verb: str, data: Any, **changes: str) -> Request:
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/pipelines/nightly",
        "type": f"io.trialbus.trial.{verb}.v1",
        "subject": "default/digits",
        **changes,
    }
    if data is not None:
        event["data"] = data
    return request(verb, event, {"Content-Type": "application/cloudevents+json"})


def problems(verb: str, body: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        read_work(request(verb, body))
    return [(it.field, it.message) for it in caught.value.problems]


def test_an_ask_has_defaults_for_all_but_its_id() -> None:
    asked = read_work(request("ask", {"id": "a-1"}))
    assert (asked.verb, asked.namespace, asked.name) == (WorkVerb.ASK, "default", "digits")
    assert asked.body == Ask(id="a-1", worker="worker", count=1, lease=60.0, wait=0.0)
    assert asked.event_id is None


@pytest.mark.parametrize(
    ("verb", "model"),
    [("report", Reports), ("heartbeat", Heartbeat), ("tell", Tell), ("release", Release)],
)
def test_every_verb_has_its_body(verb: str, model: type[Any]) -> None:
    asked = read_work(request(verb, GOOD[verb]))
    assert asked.verb == verb
    assert asked.body == model(**GOOD[verb])


def test_numbers_that_json_has_not_travel_as_texts() -> None:
    metrics = {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1}
    body = read_work(request("report", {"reports": [{**HELD, "metrics": metrics}]})).body
    assert isinstance(body, Reports)
    values = body.reports[0].metrics
    assert math.isnan(values["a"])
    assert (values["b"], values["c"], values["d"]) == (math.inf, -math.inf, 1.0)


def test_unknown_fields_are_passed_over() -> None:
    assert read_work(request("ask", {"id": "a-1", "later": 1})).body == Ask(id="a-1")


@pytest.mark.parametrize(
    ("verb", "change", "field", "words"),
    [
        ("ask", {"id": None}, "id", "must be a text"),
        ("ask", {"id": ""}, "id", "must not be empty"),
        ("ask", {"id": "x" * 201}, "id", "at most 200 characters"),
        ("ask", {"id": "schön"}, "id", "printable ASCII"),
        ("ask", {"worker": 5}, "worker", "must be a text"),
        ("ask", {"count": 0}, "count", "at least 1"),
        ("ask", {"count": 257}, "count", "at most 256"),
        ("ask", {"count": 1.5}, "count", "whole number"),
        ("ask", {"lease": 0.5}, "lease", "at least 1"),
        ("ask", {"lease": "NaN"}, "lease", "must be at"),
        ("ask", {"lease": 86401}, "lease", "at most 86400"),
        ("ask", {"wait": -1}, "wait", "at least 0"),
        ("ask", {"wait": 31}, "wait", "at most 30"),
        ("report", {"reports": {}}, "reports", "must be a list"),
        ("report", {"reports": []}, "reports", "at least 1 entry"),
        ("report", {"reports": [REPORT] * 257}, "reports", "at most 256 entries"),
        ("report", {"reports": [5]}, "reports[0]", "must be an object"),
        ("report", {"reports": [REPORT, HELD]}, "reports[1].metrics", "must be given"),
        ("report", {"reports": [{**REPORT, "metrics": {}}]}, "reports[0].metrics", "1 entry"),
        ("report", {"reports": [{**REPORT, "metrics": 1}]}, "reports[0].metrics", "an object"),
        (
            "report",
            {"reports": [{**REPORT, "metrics": {"loss": "low"}}]},
            "reports[0].metrics.loss",
            'must be a number, or "NaN"',
        ),
        (
            "report",
            {"reports": [{**REPORT, "metrics": {"loss": None}}]},
            "reports[0].metrics.loss",
            'must be a number, or "NaN"',
        ),
        (
            "report",
            {"reports": [{**REPORT, "metrics": {"x" * 256: 1}}]},
            f"reports[0].metrics.{'x' * 60}",
            "the name must have at most 255 characters",
        ),
        ("report", {"reports": [{**REPORT, "step": 0.5}]}, "reports[0].step", "whole number"),
        ("report", {"reports": [{**REPORT, "step": 2**53}]}, "reports[0].step", "at most"),
        ("report", {"reports": [{**REPORT, "at": "NaN"}]}, "reports[0].at", "must be at"),
        ("report", {"reports": [{**REPORT, "at": 1e300}]}, "reports[0].at", "at most"),
        ("report", {"reports": [{**REPORT, "id": ""}]}, "reports[0].id", "not be empty"),
        ("report", {"reports": [{**REPORT, "trial": ""}]}, "reports[0].trial", "not be empty"),
        ("report", {"reports": [{**REPORT, "attempt": 0}]}, "reports[0].attempt", "at least 1"),
        ("heartbeat", {"trials": []}, "trials", "at least 1 entry"),
        ("heartbeat", {"trials": [{"trial": "a"}]}, "trials[0].attempt", "must be given"),
        ("tell", {"results": []}, "results", "at least 1 entry"),
        ("tell", {"results": [{**RESULT, "state": "ok"}]}, "results[0].state", "'succeeded' or"),
        ("tell", {"results": [{**RESULT, "message": "x" * 1025}]}, "results[0].message", "1024"),
        ("tell", {"ask": {"count": 2}}, "ask.id", "must be given"),
        ("tell", {"ask": 1}, "ask", "must be an object"),
        ("release", {"trials": "all"}, "trials", "must be a list"),
        ("release", {"trials": [{"attempt": 1}]}, "trials[0].trial", "must be given"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(
    verb: str, change: dict[str, Any], field: str, words: str
) -> None:
    [(found, message)] = problems(verb, GOOD[verb] | change)
    assert found == field
    assert words in message


@pytest.mark.parametrize("verb", WorkVerb)
def test_what_is_no_object_is_refused_without_our_own_names(verb: WorkVerb) -> None:
    assert problems(verb, [1]) == [("", "must be an object")]
    with pytest.raises(Refused) as caught:
        read_work(structured(verb, [1]))
    assert caught.value.problems == (Problem(field="data", message="must be an object"),)


def test_every_problem_is_told_up_to_a_limit() -> None:
    assert problems("ask", {"count": 0, "wait": 99}) == [
        ("count", "must be at least 1"),
        ("id", "must be given"),
        ("wait", "must be at most 30"),
    ]
    assert len(problems("heartbeat", {"trials": [{}] * 200})) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"{", "not JSON"), (b"[" * 5000, "not JSON"), (b" " * (MAX_PAYLOAD_BYTES + 1), "bytes")],
)
def test_what_is_no_json_or_too_large_is_poison(body: bytes, words: str) -> None:
    with pytest.raises(Poison, match=words):
        read_work(request("ask", body))


@pytest.mark.parametrize(
    "subject",
    ["trialbus.v1.cmd.default.digits.apply", "trialbus.v1.cmd.Default.digits.ask", "elsewhere"],
)
def test_other_subjects_are_poison(subject: str) -> None:
    with pytest.raises(Poison):
        read_work(Request(subject=subject, data=b'{"id": "a"}'))


@pytest.mark.parametrize("verb", WorkVerb)
def test_a_structured_event_carries_the_same_body(verb: WorkVerb) -> None:
    asked = read_work(structured(verb, GOOD[verb]))
    plain = read_work(request(verb, GOOD[verb]))
    assert (asked.verb, asked.name, asked.event_id) == (verb, "digits", "e-1")
    assert asked.body == plain.body
    assert type(asked.body) is type(plain.body)
    assert event_type(verb) == f"io.trialbus.trial.{verb}.v1"


def test_a_binary_event_carries_the_same_body() -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "/s",
        "ce-type": "io.trialbus.trial.tell.v1",
        "ce-subject": "default/digits",
        "content-type": "application/json",
    }
    asked = read_work(request("tell", GOOD["tell"], headers))
    assert asked.body == Tell(**GOOD["tell"])
    assert asked.event_id == "e-1"


def test_an_event_names_what_its_data_leaves_unnamed_always_the_same() -> None:
    def ask_id(**changes: str) -> str:
        body = read_work(structured("ask", None, **changes)).body
        assert isinstance(body, Ask)
        return body.id

    assert ask_id() == ask_id()
    assert len({ask_id(), ask_id(id="e-2"), ask_id(source="/other")}) == 3
    tell = read_work(structured("tell", {**GOOD["tell"], "ask": {}})).body
    assert isinstance(tell, Tell)
    assert tell.ask is not None
    assert tell.ask.id == ask_id()


def test_reports_of_an_event_get_ids_of_their_own_unless_they_have_a_step_or_one() -> None:
    unnamed = {**HELD, "metrics": {"loss": 1.0}}
    reports = [unnamed, REPORT, {**unnamed, "id": "mine"}, unnamed]
    first, again = (read_work(structured("report", {"reports": reports})).body for _ in range(2))
    assert first == again
    assert isinstance(first, Reports)
    made, by_step, own, other = (it.id for it in first.reports)
    assert (by_step, own) == (None, "mine")
    assert made is not None
    assert made != other is not None


def test_over_http_an_ask_may_leave_out_its_id_and_what_has_all_ids_is_not_touched() -> None:
    numbers = iter("123")

    def name(data: dict[str, Any], verb: WorkVerb) -> Any:
        body = read_unnamed(verb, json.dumps(data).encode())
        return body, named(body, lambda _part: next(numbers))

    assert name({}, WorkVerb.ASK)[1].id == "1"
    assert name({**GOOD["tell"], "ask": {}}, WorkVerb.TELL)[1].ask.id == "2"
    for verb in WorkVerb:
        read, same = name(GOOD[verb], verb)
        assert same is read
    assert next(numbers) == "3"


def test_an_event_that_says_something_else_than_its_subject_is_refused() -> None:
    for changes in ({"type": "io.trialbus.trial.tell.v1"}, {"subject": "default/other"}):
        with pytest.raises(Refused):
            read_work(structured("ask", {}, **changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "io.trialbus.experiment.stop.v1"}, "type"),
        ({"subject": "Default/Digits"}, "subject"),
        ({"specversion": "0.3"}, "specversion"),
    ],
)
def test_a_wrong_event_is_refused_by_its_attribute(changes: dict[str, str], field: str) -> None:
    with pytest.raises(Refused) as caught:
        read_work(structured("ask", {}, **changes))
    assert caught.value.problems[0].field == field


def test_wrong_data_of_an_event_is_refused_by_its_path() -> None:
    with pytest.raises(Refused) as caught:
        read_work(structured("tell", {"results": [{"trial": "a", "attempt": 0}]}))
    assert caught.value.problems == (
        Problem(field="data.results[0].attempt", message="must be at least 1"),
    )
