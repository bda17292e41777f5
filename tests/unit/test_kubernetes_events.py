"""The steps of a story as Kubernetes' events."""

import pytest

from trialbus.testkit.gateway_documents import UID
from trialbus_gateway.adapters.kubernetes.event_objects import Involved, events_of
from trialbus_gateway.core.stories import WAITING, Standing, Step, Story

NOW = 1000.0


def _story(*steps: Step) -> Story:
    standing = Standing(reason="", message="")
    return Story(subject="", uid=UID, state="", standing=standing, chain=steps)


def _told(kind: str, *steps: Step) -> list[tuple[str, str, str]]:
    involved = Involved(api_version="v1", kind=kind, namespace="lab", name="tune-a", uid=UID)
    events = events_of(involved, _story(*steps), NOW)
    return [(it["type"], it["reason"], it["message"]) for it in events]


def _step(event: str, reason: str = "", message: str = "so", at: float = 1.0) -> Step:
    return Step(at=at, event=event, reason=reason, message=message)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (_step("taken"), ("Normal", "JobCreated", "Job tune-a has been created: so")),
        (_step("started", "TrialRunning"), ("Normal", "JobRunning", "Job tune-a is running: so")),
        (
            _step("succeeded", "TrialSucceeded. Job reason: X"),
            ("Normal", "JobSucceeded", "Job tune-a has succeeded: so"),
        ),
        (_step("failed", "TrialFailed"), ("Warning", "JobFailed", "Job tune-a has failed: so")),
        (
            _step("metrics unavailable", "MetricsUnavailable"),
            ("Warning", "MetricsUnavailable", "Metrics are not available for Job tune-a: so"),
        ),
        (_step("point drawn", "Request3"), ("Normal", "PointDrawn", "so")),
        (_step("lost"), ("Warning", "AttemptLost", "so")),
        (_step("judged", "StoppedByRule"), ("Normal", "StoppedByRule", "so")),
        (_step("early stopped", "TrialEarlyStopped"), ("Normal", "TrialEarlyStopped", "so")),
        (_step("something new"), ("Normal", "SomethingNew", "so")),
    ],
)
def test_a_trial_tells_in_katibs_words(step: Step, told: tuple[str, str, str]) -> None:
    assert _told("Trial", step) == [told]


def test_an_experiment_keeps_its_own_words() -> None:
    steps = [
        _step("failed", "ExperimentFailed"),
        _step("trials"),
        _step("running", "BusUnavailable"),
        _step("stalled", "WorkersMissing"),
        _step(WAITING, "TrialLauncherSilent", at=NOW - 40),
    ]
    assert _told("Experiment", *steps) == [
        ("Warning", "ExperimentFailed", "so"),
        ("Normal", "TrialsSoFar", "so"),
        ("Warning", "BusUnavailable", "so"),
        ("Warning", "WorkersMissing", "so"),
        ("Warning", "TrialLauncherSilent", "so"),
    ]


def test_a_job_and_a_pod_tell_a_part_of_it() -> None:
    steps = [_step("created", "TrialCreated"), _step("ended"), _step("succeeded", "TrialSucceeded")]
    assert [it[1] for it in _told("Job", *steps)] == ["AttemptEnded", "JobSucceeded"]
    assert [it[1] for it in _told("Pod", *steps)] == ["AttemptEnded"]


def test_only_long_waits_are_told_and_stay_the_same_event() -> None:
    waits = [
        _step(WAITING, "WaitsForLauncher", at=NOW - 3),
        _step(WAITING, "WaitsForLauncher", at=NOW - 1),
        _step(WAITING, "Running", at=NOW - 50),
    ]
    assert _told("Trial", *waits) == [("Normal", "WaitsForLauncher", "so")]
    involved = Involved(api_version="v1", kind="Trial", namespace="lab", name="tune-a", uid=UID)
    [first] = events_of(involved, _story(_step(WAITING, "W", "for 3 s", at=NOW - 3)), NOW)
    [later] = events_of(involved, _story(_step(WAITING, "W", "for 4 s", at=NOW - 3)), NOW + 1)
    assert first["metadata"]["name"] == later["metadata"]["name"]
    assert first["firstTimestamp"] == later["firstTimestamp"]
    assert int(later["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
