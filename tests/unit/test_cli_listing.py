"""Names, lists, tables, events and logs, from a gateway that says what a test wants."""

import json
from collections.abc import Iterator

import pytest

from trialbus.testkit.fake_gateway import (
    Answer,
    FakeGateway,
    command_code,
    serving_fake_gateway,
)

NAMED = "/v1/namespaces/default/experiments/tune"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        yield fake


def _listed(*places: str) -> Answer:
    items = [{"metadata": {"name": "tune", "namespace": place}} for place in places]
    return 200, {"items": [*items, {"metadata": {"name": "b", "namespace": "c"}}], "next": None}


def test_a_name_that_is_in_one_other_namespace_only_is_found(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says("GET /v1/experiments", _listed("kubeflow"))
    gateway.says("GET /v1/namespaces/kubeflow/experiments/tune", (200, {}))
    gateway.says("POST /v1/namespaces/kubeflow/experiments/tune/suspend", (202, {}))
    assert command_code(gateway, "suspend", "tune") == 0
    assert capsys.readouterr().out == "kubeflow/tune is being suspended\n"


def test_a_name_in_several_namespaces_must_be_chosen(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says("GET /v1/experiments", _listed("b", "a"))
    assert command_code(gateway, "delete", "tune") == 2
    assert "several namespaces have tune (a, b): choose with -n" in capsys.readouterr().err
    assert not [what for what in gateway.asked if what.startswith("DELETE")]


def test_the_default_namespace_comes_first(gateway: FakeGateway) -> None:
    gateway.says(f"GET {NAMED}", (200, {}))
    gateway.says(f"DELETE {NAMED}", (202, {}))
    assert command_code(gateway, "delete", "tune") == 0
    assert "GET /v1/experiments" not in gateway.asked


def test_a_name_that_nobody_has_is_an_error(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says("GET /v1/experiments", _listed())
    assert command_code(gateway, "explain", "tune") == 1
    assert "there is no experiment or trial called tune" in capsys.readouterr().err


def test_lists_are_read_page_by_page(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [
        (200, {"items": [{"metadata": {"name": name}}], "next": after})
        for name, after in (("one", "x"), ("two", None))
    ]
    gateway.says("GET /v1/trials", *pages)
    assert command_code(gateway, "get", "trials", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "TrialList"
    assert [each["metadata"]["name"] for each in found["items"]] == ["one", "two"]


def test_a_table_shows_the_newest_condition_and_the_best_trial(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {
        "bestTrialName": "tune-abcd1234",
        "observation": {"metrics": [{"name": "loss", "latest": "0.5"}]},
    }
    conditions = [
        {"type": "Created", "status": "True"},
        {"type": "Running", "status": "True"},
        {"type": "Succeeded", "status": "False"},
    ]
    found = {
        "metadata": {"name": "tune", "namespace": "default"},
        "spec": {"maxTrialCount": 4},
        "status": {
            "conditions": conditions,
            "trials": 3,
            "trialsSucceeded": 2,
            "currentOptimalTrial": best,
        },
    }
    gateway.says("GET /v1/experiments", (200, {"items": [found], "next": None}))
    assert command_code(gateway, "get", "experiments") == 0
    heading, row = capsys.readouterr().out.splitlines()
    expected = ["default", "tune", "Running", "3/4", "2", "loss=0.5", "tune-abcd1234"]
    assert row.split() == expected
    assert heading.index("BEST TRIAL") == row.index("tune-abcd1234")


@pytest.mark.parametrize("kind", ["experiments", "trials"])
def test_a_table_shows_metrics_as_trials_are_compared_by_them(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    metrics = [
        {"name": "acc", "min": "0.1", "max": "0.9861", "latest": "0.9749"},
        {"name": "loss", "min": "0.2", "max": "9", "latest": "0.3"},
        {"name": "rest", "min": "1", "max": "3", "latest": "2"},
    ]
    strategies = [{"name": "acc", "value": "max"}, {"name": "loss", "value": "min"}]
    observation = {"metrics": metrics}
    found = {
        "metadata": {"name": "tune-abcd1234", "namespace": "default"},
        "spec": {"objective": {"objectiveMetricName": "acc", "metricStrategies": strategies}},
        "status": {
            "observation": observation,
            "currentOptimalTrial": {"bestTrialName": "x", "observation": observation},
        },
    }
    gateway.says(f"GET /v1/{kind}", (200, {"items": [found], "next": None}))
    assert command_code(gateway, "get", kind) == 0
    assert "acc=0.9861 loss=0.2 rest=2" in capsys.readouterr().out


def test_events_are_printed_one_a_line(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {
        "id": "1",
        "type": "io.trialbus.trial.failed.v1",
        "time": "2026-01-02T03:04:05Z",
        "subject": "tune-abcd1234",
        "experiment": "tune",
        "data": {"reason": "TrialFailed", "message": "exit code 1"},
    }
    stream = f": still here\n\nid: 1\ndata: {json.dumps(event)}\n\n"
    gateway.says(f"GET {NAMED}", (200, {}))
    gateway.says(f"GET {NAMED}/events", (200, stream))
    assert command_code(gateway, "events", "tune") == 0
    expected = "2026-01-02T03:04:05Z  trial.failed  tune-abcd1234  TrialFailed  exit code 1\n"
    assert capsys.readouterr().out == expected


def test_a_log_comes_out_as_it_is(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.says("GET /v1/trials/tune-abcd1234/log", (200, "epoch=1\nloss=0.5\nno end"))
    assert command_code(gateway, "logs", "tune-abcd1234") == 0
    assert capsys.readouterr().out == "epoch=1\nloss=0.5\nno end"
