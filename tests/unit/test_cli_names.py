"""Names that say their namespace, as lists and messages write them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from trialbus.testkit.fake_gateway import FakeGateway, command_code, serving_fake_gateway

EXPERIMENT = "/v1/namespaces/team/experiments/tune"
TRIAL = "/v1/trials/tune-1a2b3c4d"
STORY = {"subject": "trial team/tune-1a2b3c4d", "state": "Running"}


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        yield fake


def _there(gateway: FakeGateway) -> None:
    """An experiment and a trial in `team`, which do and say whatever is asked."""
    metadata = {"name": "tune", "namespace": "team"}
    whole = {"metadata": metadata, "spec": {"objective": {"objectiveMetricName": "loss"}}}
    gateway.says(f"GET {EXPERIMENT}", (200, whole))
    gateway.says(f"GET {EXPERIMENT}/suggestion", (200, whole))
    gateway.says(
        f"GET {EXPERIMENT}/explain", (200, {"subject": "experiment team/tune", "state": ""})
    )
    gateway.says(f"GET {EXPERIMENT}/progress", (404, {"message": "it is gone"}))
    gateway.says(f"GET {EXPERIMENT}/events", (200, {}))
    gateway.says(f"DELETE {EXPERIMENT}", (202, {}))
    gateway.says(f"POST {EXPERIMENT}/suspend", (202, {}))
    gateway.says(f"POST {EXPERIMENT}/resume", (202, {}))
    gateway.says("GET /v1/trials", (200, {"items": [], "next": None}))
    gateway.says(
        f"GET {TRIAL}", (200, {"metadata": {"name": "tune-1a2b3c4d", "namespace": "team"}})
    )
    gateway.says(f"GET {TRIAL}/explain", (200, STORY))
    gateway.says(f"GET {TRIAL}/log", (200, {}))


OF_AN_EXPERIMENT = [
    ["get", "experiments", "team/tune", "-o", "json"],
    ["get", "suggestions", "team/tune", "-o", "json"],
    ["get", "trials", "-e", "team/tune"],
    ["events", "team/tune"],
    ["explain", "team/tune"],
    ["wait", "team/tune", "--for=Deleted"],
    ["delete", "team/tune"],
    ["lineage", "team/tune"],
    ["suspend", "team/tune"],
    ["resume", "team/tune"],
    ["export", "team/tune"],
]
OF_A_TRIAL = [
    ["get", "trials", "team/tune-1a2b3c4d", "-o", "json"],
    ["logs", "team/tune-1a2b3c4d"],
    ["explain", "team/tune-1a2b3c4d"],
]


@pytest.mark.parametrize("words", [*OF_AN_EXPERIMENT, *OF_A_TRIAL], ids=" ".join)
def test_a_name_may_say_its_namespace(gateway: FakeGateway, words: Sequence[str]) -> None:
    _there(gateway)
    assert command_code(gateway, *words) == 0
    assert command_code(gateway, *words, "-n", "team") == 0
    assert not [what for what in gateway.asked if "default" in what or "%2F" in what]


@pytest.mark.parametrize("words", [*OF_AN_EXPERIMENT, *OF_A_TRIAL], ids=" ".join)
def test_a_name_and_an_option_that_say_different_namespaces_are_refused(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    _there(gateway)
    assert command_code(gateway, *words, "-n", "other") == 2
    told = capsys.readouterr().err
    assert "is in the namespace team, but -n says other: give one of the two" in told
    assert not gateway.asked


@pytest.mark.parametrize("words", OF_A_TRIAL, ids=" ".join)
def test_a_trial_of_another_namespace_is_not_found(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    _there(gateway)
    apart = [word.replace("team/", "") for word in words]
    assert command_code(gateway, *apart, "-n", "other") == 1
    assert "other" in capsys.readouterr().err
    assert f"GET {TRIAL}/log" not in gateway.asked


@pytest.mark.parametrize("name", ["team/", "/tune", "a/team/tune"])
def test_half_a_name_and_one_of_three_parts_are_refused(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert command_code(gateway, "explain", name) == 2
    assert f"{name} is no name: NAME, or NAMESPACE/NAME" in capsys.readouterr().err


def test_imported_trials_go_where_their_name_says(gateway: FakeGateway, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("lr,loss\n0.1,0.5\n0.2,0.4\n")
    words = ["import", str(rows), "--name", "team/old", "--objective", "loss", "--minimize"]
    assert command_code(gateway, *words) == 1
    assert gateway.asked == ["PUT /v1/namespaces/team/experiments/old"]
