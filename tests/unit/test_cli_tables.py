"""Tables of experiments: what a person sees at a glance."""

from typing import Any

from trialbus.cli.tables import EXPERIMENTS, table


def experiment(name: str, condition: str, reason: str) -> dict[str, Any]:
    conditions = [
        {"type": "Created", "status": "True", "reason": "ExperimentCreated"},
        {"type": condition, "status": "True", "reason": reason},
    ]
    return {
        "metadata": {"name": name, "namespace": "lab"},
        "spec": {"objective": {}},
        "status": {"conditions": conditions},
    }


def cells(*experiments: dict[str, Any]) -> list[list[str]]:
    return [line.split() for line in table(EXPERIMENTS, experiments, wide=False)]


def test_what_an_experiment_waits_for_has_a_column_when_one_does() -> None:
    goes_on = experiment("goes-on", "Running", "ExperimentRunning")
    over = experiment("over", "Succeeded", "ExperimentMaxTrialsReached")
    heading, *_ = cells(goes_on, over)
    assert "WAITS" not in heading
    heading, first, second, third = cells(
        goes_on, over, experiment("stuck", "Running", "WorkersMissing")
    )
    assert heading[:4] == ["NAMESPACE", "NAME", "STATE", "WAITS"]
    assert third[:4] == ["lab", "stuck", "Running", "WorkersMissing"]
    assert "WorkersMissing" not in first + second
