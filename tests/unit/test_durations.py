"""Lengths of time as people write them, and what trials weigh by their templates."""

from typing import Any

import pytest

from trialbus.kernel.durations import duration_s, duration_text
from trialbus.kernel.resources import weight_of
from trialbus.kernel.spec import CountedResource, TrialTemplate

CPU, GPU, TRIAL = CountedResource.CPU, CountedResource.GPU, CountedResource.TRIAL


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("2h30m", 9000.0),
        ("1d", 86400.0),
        ("1.5h", 5400.0),
        ("1d2h3m4s", 93784.0),
        ("250ms", 0.25),
        ("1m30m", 1860.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "-5s", "0s", "2 h", "1H", "1e3s", "5w", "9" * 70 + "s", "200000d", "\u0665s"],
)
def test_what_is_no_duration_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration_s(text)


@pytest.mark.parametrize("text", ["1d2h3m4s", "59s", "1h", "365d"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert duration_text(duration_s(text)) == text


def template(*containers: dict[str, Any], **job: Any) -> TrialTemplate:
    pod = {"spec": {"containers": list(containers), "initContainers": [asking(cpu=8)]}}
    return TrialTemplate(trial_spec={"kind": "Job", "spec": {"template": pod, **job}})


def asking(limits: dict[str, Any] | None = None, **requests: Any) -> dict[str, Any]:
    return {"resources": {"requests": requests, "limits": limits or {}}}


@pytest.mark.parametrize(
    ("of", "counted", "weight"),
    [
        (None, CPU, 1.0),
        (template({"image": "x"}), CPU, 1.0),
        (template(asking(cpu="500m"), asking(cpu=2)), CPU, 2.5),
        (template(asking({"cpu": "4"})), CPU, 4.0),
        (template(asking({"cpu": "4"}, cpu=1)), CPU, 1.0),
        (template(asking(cpu=2), parallelism=3), CPU, 6.0),
        (template(asking({"nvidia.com/gpu": 2})), GPU, 2.0),
        (template(asking(cpu=2)), GPU, 0.0),
        (template(asking(cpu=2), parallelism=3), TRIAL, 1.0),
    ],
)
def test_a_trial_weighs_what_its_containers_ask_for(
    of: TrialTemplate | None, counted: CountedResource, weight: float
) -> None:
    assert weight_of(of, counted) == weight


def test_replicas_of_a_training_job_are_counted() -> None:
    pod = {"spec": {"containers": [asking({"nvidia.com/gpu": 1})]}}
    roles = {"Master": {"replicas": 1, "template": pod}, "Worker": {"replicas": 3, "template": pod}}
    of = TrialTemplate(trial_spec={"kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": roles}})
    assert weight_of(of, GPU) == 4.0


def test_a_quantity_that_a_search_decides_is_none() -> None:
    with pytest.raises(ValueError, match=r"counts cpu, .* '\$\{trialParameters.cores\}'"):
        weight_of(template(asking(cpu="${trialParameters.cores}")), CPU)
