"""What `trialbus import katib` tells of trials, by the requests that it makes."""

from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from trialbus.cli.api import Api
from trialbus.cli.katib_import import import_katib
from trialbus.cli.katib_objects import Export
from trialbus.cli.observation_dump import Points

Json = dict[str, Any]
UNOBSERVED = {"name": "loss", "min": "unavailable", "max": "unavailable", "latest": "unavailable"}


class Gateway(Api):
    """Takes everything."""

    def __init__(self) -> None:
        self.trials: list[Json] = []

    def call(self, method: str, path: str, body: Any = None) -> Any:
        if method == "POST":
            self.trials += body["data"]["trials"]
        return {"uid": "u"}


def trial(ends: str, metrics: Sequence[Json]) -> Json:
    conditions = [{"type": it, "status": "True"} for it in ("Created", ends)]
    return {
        "metadata": {"name": "tune-a", "creationTimestamp": "2024-03-01T10:00:00Z"},
        "spec": {"parameterAssignments": [{"name": "x", "value": "0.5"}]},
        "status": {"conditions": conditions, "observation": {"metrics": list(metrics)}},
    }


def told(each: Json, curves: dict[str, dict[str, Points]] | None = None) -> Json:
    experiment = {
        "metadata": {"name": "tune", "namespace": "lab"},
        "spec": {"objective": {"objectiveMetricName": "loss"}},
        "status": {"conditions": [{"type": "Succeeded", "status": "True"}]},
    }
    export = Export(experiments={("lab", "tune"): experiment}, trials={("lab", "tune"): [each]})
    gateway = Gateway()
    import_katib(gateway, export, curves or {}, go_on=False, tell=lambda _: None)
    [found] = gateway.trials
    return found


@pytest.mark.parametrize("ends", ["EarlyStopped", "MetricsUnavailable"])
def test_what_katib_could_not_observe_is_no_value(ends: str) -> None:
    found = told(trial(ends, [UNOBSERVED]))
    assert (found["state"], found["metrics"]) == (ends, {})


def test_a_success_without_its_objective_is_none() -> None:
    assert told(trial("Succeeded", [UNOBSERVED]))["state"] == "MetricsUnavailable"


def test_what_katib_could_not_observe_may_be_in_its_database() -> None:
    points = Points(values=array("d", [0.5, 0.25, 0.375]), times=array("d", [1.0, 2.0, 3.0]))
    found = told(trial("EarlyStopped", [UNOBSERVED]), {"tune-a": {"loss": points}})
    assert found["metrics"] == {"loss": {"min": 0.25, "max": 0.5, "latest": 0.375}}


def test_numbers_and_texts_are_told_as_they_are() -> None:
    observed = [
        {"name": "loss", "min": "0.25", "max": "nan", "latest": "0.5"},
        {"name": "cell", "min": "unavailable", "max": "unavailable", "latest": "Genotype()"},
    ]
    assert told(trial("Succeeded", observed))["metrics"] == {
        "loss": {"min": 0.25, "max": "NaN", "latest": 0.5},
        "cell": {"latest": "Genotype()"},
    }
