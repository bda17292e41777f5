"""What commands tell of an experiment: its trouble, its end, that there was nothing to do."""

import json
import socket
from collections.abc import Iterator

import pytest

from trialbus.cli import following, watching
from trialbus.cli.api import Api
from trialbus.cli.choices import Goal
from trialbus.cli.failures import TIMED_OUT, StackGone
from trialbus.cli.trouble import trouble
from trialbus.cli.waiting import wait
from trialbus.testkit.fake_gateway import (
    Answer,
    FakeGateway,
    command_code,
    serving_fake_gateway,
)

NAMED = "/v1/namespaces/default/experiments/tune"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    monkeypatch.setattr(watching, "LOOK_S", 0.001)
    with serving_fake_gateway() as fake:
        yield fake


def _progress(phase: str) -> Answer:
    return 200, {
        "namespace": "default",
        "name": "tune",
        "phase": phase,
        "parallel": 2,
        "objective": {"type": "minimize", "name": "loss"},
        "trials": {},
    }


def _chain(*messages: str) -> Answer:
    failed = [{"event": "trial failed", "message": each} for each in messages]
    return 200, {"chain": [{"event": "created", "message": "it is"}, *failed]}


def test_the_newest_failure_is_told_with_the_end_of_its_output(gateway: FakeGateway) -> None:
    gateway.says(f"GET {NAMED}/explain", _chain("tune-1: exit code 2", "tune-2: exit code 1"))
    log = "\n".join(f"line {number}" for number in range(1, 13))
    gateway.says("GET /v1/trials/tune-2/explain", (200, {"logTail": log}))
    assert trouble(Api(gateway.url, remedy=""), "default", "tune") == (
        "tune-2",
        [
            "Trial tune-2 failed: exit code 1",
            "Its output ends with:",
            *(f"  line {number}" for number in range(3, 13)),
            "Before it:",
            "  tune-1: exit code 2",
        ],
    )


def test_a_trial_that_cannot_be_asked_for_is_told_all_the_same(gateway: FakeGateway) -> None:
    gateway.says(f"GET {NAMED}/explain", _chain("tune-2: there is no program nothing"))
    found = trouble(Api(gateway.url, remedy=""), "default", "tune")
    assert found == (
        "tune-2",
        ["Trial tune-2 failed: there is no program nothing", "It has printed nothing."],
    )


@pytest.mark.parametrize("answer", [_chain(), (503, {"message": "away"})])
def test_no_trouble_and_no_answer_are_told_as_nothing(gateway: FakeGateway, answer: Answer) -> None:
    gateway.says(f"GET {NAMED}/explain", answer)
    assert trouble(Api(gateway.url, remedy=""), "default", "tune") is None


@pytest.mark.parametrize(
    ("goal", "phase", "code"),
    [
        ("Succeeded", "Succeeded", 0),
        ("Succeeded", "Failed", 1),
        ("Failed", "Failed", 0),
        ("Failed", "Succeeded", 1),
        ("Suspended", "Suspended", 0),
        ("Suspended", "Succeeded", 1),
        ("Ended", "Failed", 0),
        ("Succeeded", "Running", 124),
        ("Deleted", "Succeeded", 124),
    ],
)
def test_wait_tells_by_its_code_what_became_of_it(
    gateway: FakeGateway,
    goal: str,
    phase: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gateway.says(f"GET {NAMED}", (200, {}))
    gateway.says(f"GET {NAMED}/progress", _progress("Running"), _progress(phase))
    timeout = "200ms" if code == TIMED_OUT else "60s"
    arguments = ["wait", "tune", "--for", goal, "--timeout", timeout]
    assert command_code(gateway, *arguments) == code
    told = {
        0: f"default/tune is {phase}",
        1: f"default/tune is {phase}, not {goal}",
        124: f"tune is not {goal} after 0.2 s",
    }
    assert capsys.readouterr().err == f"{told[code]}\n"


def test_wait_bears_a_gateway_that_is_away_from_its_first_question_on(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    away: Answer = (503, {"message": "it is away"})
    gateway.says(f"GET {NAMED}", away, (404, {"message": "no such experiment"}))
    elsewhere = {"items": [{"metadata": {"name": "tune", "namespace": "team"}}]}
    gateway.says("GET /v1/experiments", away, (200, elsewhere))
    there = NAMED.replace("default", "team")
    gateway.says(f"GET {there}/progress", away, _progress("Succeeded"))
    assert command_code(gateway, "wait", "tune") == 0
    assert capsys.readouterr().err == "team/tune is Succeeded\n"


def test_wait_gives_up_a_gateway_that_stays_away(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AWAY_DEADLINE_S", 0.05)
    gateway.says(f"GET {NAMED}", (503, {"message": "it is away"}))
    assert command_code(gateway, "wait", "tune") == 1
    assert capsys.readouterr().err == "it is away\n"


@pytest.mark.parametrize("away", [NAMED, f"{NAMED}/progress"])
def test_the_timeout_of_wait_holds_while_the_gateway_is_away(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], away: str
) -> None:
    gateway.says(f"GET {NAMED}", (200, {}))
    gateway.says(f"GET {away}", (503, {"message": "it is away"}))
    assert command_code(gateway, "wait", "tune", "--timeout=200ms") == TIMED_OUT
    assert capsys.readouterr().err == "tune is not Succeeded after 0.2 s\n"


def test_wait_for_a_stack_that_has_ended_says_so_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = Api(f"http://127.0.0.1:{port}", remedy="", has_ended=lambda: True)
    with pytest.raises(StackGone):
        wait(api, "tune", Goal.SUCCEEDED, namespace=None, within_s=None)


def test_wait_for_deleted_is_over_when_it_is_gone(gateway: FakeGateway) -> None:
    gone: Answer = (404, {"message": "no such experiment"})
    gateway.says(f"GET {NAMED}", (200, {}))
    gateway.says(f"GET {NAMED}/progress", _progress("Deleting"), gone)
    assert command_code(gateway, "wait", "tune", "--for=Deleted") == 0


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_nothing_is_done_to_what_has_ended(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    conditions = [{"type": "Failed", "status": "True"}]
    gateway.says(f"GET {NAMED}", (200, {"status": {"conditions": conditions}}))
    gateway.says(f"POST {NAMED}/{verb}", (202, {}))
    assert command_code(gateway, verb, "tune") == 0
    told = f"default/tune has ended (Failed): there is nothing to {verb}\n"
    assert capsys.readouterr().out == told


def _event(number: int, kind: str) -> str:
    event = {"id": str(number), "type": f"io.trialbus.{kind}.v1", "experiment": "tune"}
    return f"id: {number}\ndata: {json.dumps({**event, 'subject': 'tune'})}\n\n"


def test_events_that_broke_off_go_on_without_doubles(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_S", 0.001)
    first, last = _event(1, "experiment.created"), _event(2, "experiment.deleted")
    gateway.says(f"GET {NAMED}", (200, {}))
    away: Answer = (503, {"message": "away"})
    gateway.says(f"GET {NAMED}/events", (200, first), away, (200, first), (200, first + last))
    assert command_code(gateway, "events", "tune", "-f") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["experiment.created", "experiment.deleted"]


@pytest.mark.parametrize("tail", [(), ("--tail", "2")])
def test_a_log_that_broke_off_goes_on_after_what_was_shown(
    gateway: FakeGateway,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tail: tuple[str, ...],
) -> None:
    monkeypatch.setattr(following, "LOOK_S", 0.001)
    log = "/v1/trials/tune-1/log"
    whole = "one\ntwo\nthrée\n"
    more: Answer = (200, whole + "four\n")
    start = "two\nthrée\n" if tail else whole
    gateway.says(f"GET {log}", (200, start), (503, {"message": "away"}), more)
    # The first end is the gateway's own.
    gateway.says("GET /v1/trials/tune-1", (503, {"message": "away"}), (200, {}))
    assert command_code(gateway, "logs", "tune-1", "-f", *tail) == 0
    assert capsys.readouterr().out == start + "four\n"


def test_a_gateway_that_does_not_come_back_ends_the_following(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_S", 0.001)
    monkeypatch.setattr(following, "AWAY_DEADLINE_S", 0.05)
    gateway.says(f"GET {NAMED}", (200, {}))
    created = (200, _event(1, "experiment.created"))
    gateway.says(f"GET {NAMED}/events", created, (503, {"message": "it is away"}))
    assert command_code(gateway, "events", "tune", "-f") == 1
    assert capsys.readouterr().err == "it is away\n"
