"""How attempts look as pods and jobs, and how long ago things are said to be."""

from typing import Any

import pytest

from trialbus.contracts.katib.views import trial_view
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import CollectorKind
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.gateway_documents import experiment, run, trial
from trialbus_gateway.adapters.kubernetes.core_columns import age_text
from trialbus_gateway.adapters.kubernetes.pod_objects import job_object, pod_object, shown_state
from trialbus_gateway.app.attempts import Attempt

ENDED = {"phase": RunPhase.FINISHED, "finished_at": 310.0}


def _attempt(
    made: dict[str, Any] | None,
    *,
    phase: TrialPhase = TrialPhase.CREATED,
    collector: CollectorKind = CollectorKind.STDOUT,
    beside: dict[str, Any] | None = None,
    **changes: Any,
) -> Attempt:
    """made: of its run, None: nobody has taken it."""
    of = None if made is None else run(**made)
    shown = trial(phase=phase, **changes)
    return Attempt(
        trial=shown,
        view=trial_view(shown, experiment(), of),
        number=1,
        run=of,
        collector=collector,
        beside=beside,
    )


@pytest.mark.parametrize(
    ("attempt", "phase", "shown", "code"),
    [
        (_attempt(None), "Pending", "Pending", None),
        (_attempt({"started_at": None}), "Pending", "Pending", None),
        (_attempt({}), "Running", "Running", None),
        (_attempt({**ENDED, "exit_code": 0}), "Succeeded", "Completed", 0),
        (_attempt({**ENDED, "exit_code": 3}), "Failed", "Error", 3),
        (_attempt({**ENDED, "signal": 9}), "Failed", "Error", 137),
        (
            _attempt({**ENDED, "signal": 15, "stop_reason": "EarlyStopped"}),
            "Failed",
            "EarlyStopped",
            143,
        ),
        (_attempt({"phase": RunPhase.LOST, "finished_at": 310.0}), "Failed", "Lost", 1),
        # Its run has been forgotten.
        (_attempt(None, phase=TrialPhase.SUCCEEDED), "Succeeded", "Completed", 0),
        (_attempt(None, phase=TrialPhase.FAILED, exit_code=2), "Failed", "Error", 2),
    ],
)
def test_the_state_of_a_pod_is_that_of_its_run(
    attempt: Attempt, phase: str, shown: str, code: int | None
) -> None:
    pod = pod_object(attempt)
    assert (pod["status"]["phase"], shown_state(pod)) == (phase, shown)
    states = [it["state"] for it in pod["status"]["containerStatuses"]]
    assert len(states) == 2
    assert [state.get("terminated", {}).get("exitCode") for state in states] == [code] * 2


@pytest.mark.parametrize(
    ("phase", "condition"),
    [
        (TrialPhase.SUCCEEDED, "Complete"),
        (TrialPhase.EARLY_STOPPED, "Complete"),
        (TrialPhase.METRICS_UNAVAILABLE, "Complete"),
        (TrialPhase.FAILED, "Failed"),
        (TrialPhase.KILLED, "Failed"),
    ],
)
def test_a_job_ends_as_its_trial_does(phase: TrialPhase, condition: str) -> None:
    attempt = _attempt({**ENDED, "exit_code": 0}, phase=phase, completed_at=311.0, reason="Why")
    status = job_object(attempt)["status"]
    [only] = status["conditions"]
    assert (only["type"], only["status"], only["reason"]) == (condition, "True", "Why")
    assert ("completionTime" in status) is (condition == "Complete")


@pytest.mark.parametrize(
    ("collector", "sidecars"),
    [
        (CollectorKind.STDOUT, ["metrics-logger-and-collector"]),
        (CollectorKind.FILE, ["metrics-logger-and-collector"]),
        (CollectorKind.TENSORFLOW_EVENT, ["metrics-collector"]),
        (CollectorKind.PROMETHEUS_METRIC, []),
        (CollectorKind.PUSH, []),
    ],
)
def test_the_collector_stands_beside_the_container(
    collector: CollectorKind, sidecars: list[str]
) -> None:
    pod = pod_object(_attempt({}, collector=collector))
    names = [it["name"] for it in pod["spec"]["containers"]]
    assert names == ["training-container", *sidecars]


def test_a_custom_collector_stands_beside_it_under_its_own_name() -> None:
    beside = {"name": "scraper", "image": "my/scraper:1", "command": ["scrape"]}
    pod = pod_object(_attempt({}, collector=CollectorKind.CUSTOM, beside=beside))
    assert pod["spec"]["containers"][1:] == [beside]
    assert [it["name"] for it in pod["status"]["containerStatuses"]] == [
        "training-container",
        "scraper",
    ]


# By hand from apimachinery's duration.HumanDuration.
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_300, "3h25m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ],
)
def test_ages_are_told_as_kubectl_tells_them(seconds: int, text: str) -> None:
    assert age_text(seconds) == text
