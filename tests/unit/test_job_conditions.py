"""Ended runs are judged by the conditions of their template, on the Job that Kubernetes shows."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.defaults import JOB_FAILURE, JOB_SUCCESS
from trialbus.kernel.run import Run, RunPhase, RunVerdict
from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsPath,
    PathKind,
    TrialParameter,
    TrialTemplate,
)
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.testkit.experiment_states import (
    NOW,
    UID,
    experiment,
    lost,
    objective,
    run,
    spec,
    stopped,
    summary,
)
from trialbus.testkit.memory_launcher import MemoryWorld, Script
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.core.observed import SeenObservation
from trialbus_experiment.core.outcomes import Ended, RunOutcome, judge
from trialbus_trial_launcher.app.judging import Judging
from trialbus_trial_launcher.core.conditions import Conditions, ended_job, is_judged, judged

SEEN = SeenObservation(metrics=summary(0.5))
USUAL = Conditions(success=JOB_SUCCESS, failure=JOB_FAILURE)
NEVER = "status.conditions.#(type==Never)"
OBJECT = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "t", "labels": {"a": "b"}}}
ENDS = {
    "complete": run(0),
    "failed": run(0, exit_code=3),
    "killed": run(0, exit_code=None, signal=9),
    "late": stopped(0, "DeadlineExceeded"),
    "too long": stopped(0, "OutputLimit"),
}


def job_of(end: Run) -> dict[str, Any]:
    return ended_job(
        OBJECT, end, started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:00:05Z"
    )


def verdict(end: Run, success: str, failure: str = NEVER) -> tuple[RunVerdict | None, str, str]:
    after = judged(end, job_of(end), Conditions(success=success, failure=failure))
    return after.verdict, after.job_reason, after.job_message


def outcome(end: Run, observation: SeenObservation | None = SEEN) -> RunOutcome:
    return judge(end, observation, objective=objective(), lost_before=0, stop_wanted="", now=NOW)


# The Job ---------------------------------------------------------------------------------------


def test_a_command_that_ended_well_is_a_complete_job() -> None:
    """As `kubectl get job -o json` of Kubernetes 1.32 prints it."""
    condition = {
        "lastProbeTime": "2026-01-01T00:00:05Z",
        "lastTransitionTime": "2026-01-01T00:00:05Z",
        "message": "Reached expected number of succeeded pods",
        "reason": "CompletionsReached",
        "status": "True",
    }
    assert job_of(run(0)) == {
        **OBJECT,
        "status": {
            "completionTime": "2026-01-01T00:00:05Z",
            "conditions": [
                {"type": "SuccessCriteriaMet", **condition},
                {"type": "Complete", **condition},
            ],
            "ready": 0,
            "startTime": "2026-01-01T00:00:00Z",
            "succeeded": 1,
            "terminating": 0,
            "uncountedTerminatedPods": {},
        },
    }


@pytest.mark.parametrize(
    ("end", "reason", "message"),
    [
        (
            "failed",
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit: exit code 3",
        ),
        ("killed", "BackoffLimitExceeded", "Job has reached the specified backoff limit: signal 9"),
        ("late", "DeadlineExceeded", "Job was active longer than specified deadline"),
        ("too long", "OutputLimit", "Job was stopped: OutputLimit"),
    ],
)
def test_any_other_end_is_a_failed_job(end: str, reason: str, message: str) -> None:
    status = job_of(ENDS[end])["status"]
    assert (status["failed"], status.get("succeeded"), status.get("completionTime")) == (
        1,
        None,
        None,
    )
    assert [(it["type"], it["reason"], it["message"]) for it in status["conditions"]] == [
        ("FailureTarget", reason, message),
        ("Failed", reason, message),
    ]


def test_what_took_the_signal_of_its_deadline_with_exit_code_0_is_late_all_the_same() -> None:
    end = run(0, stop_reason="DeadlineExceeded")
    assert job_of(end)["status"]["conditions"][-1]["type"] == "Failed"


# Conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("complete", RunVerdict.SUCCEEDED),
        ("failed", RunVerdict.FAILED),
        ("killed", RunVerdict.FAILED),
        ("late", RunVerdict.FAILED),
        ("too long", RunVerdict.FAILED),
    ],
)
def test_the_usual_conditions_say_what_the_exit_code_says(end: str, expected: RunVerdict) -> None:
    """So they need not be asked."""
    asked = judged(ENDS[end], job_of(ENDS[end]), USUAL)
    assert asked.verdict is expected
    by_conditions, by_exit_code = outcome(asked), outcome(ENDS[end])
    assert isinstance(by_conditions, Ended)
    assert isinstance(by_exit_code, Ended)
    assert by_conditions.phase is by_exit_code.phase
    assert by_conditions.value == by_exit_code.value


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ('status.conditions.#(type=="Complete")#|#(status=="True")#', True),
        ('status.conditions.#(type=="Complete")', True),
        ("status.[@this].#(succeeded==1)", True),
        ('metadata.[@this].#(name=="t")', True),
        ("status", True),
        ("status.conditions.#.type", True),
        ('status.conditions.#(type=="Other")#|#(status=="True")#', False),
        ('status.[@this].#(phase=="Succeeded")#', False),
        ("status.succeeded", False),
        ("status.conditions.0.type", False),
        ("status.nothing", False),
        ("status.failed", False),
    ],
)
def test_an_object_or_a_list_that_is_not_empty_is_a_match(path: str, matches: bool) -> None:
    expected = RunVerdict.SUCCEEDED if matches else RunVerdict.UNDECIDED
    assert verdict(run(0), path)[0] is expected


def test_failure_counts_before_success() -> None:
    assert verdict(run(0), "status", "status")[0] is RunVerdict.FAILED


def test_reason_and_message_are_those_of_the_first_match() -> None:
    assert verdict(run(0), "status.conditions") == (
        RunVerdict.SUCCEEDED,
        "CompletionsReached",
        "Reached expected number of succeeded pods",
    )
    assert verdict(run(0), "status") == (RunVerdict.SUCCEEDED, "", "")
    assert verdict(run(0), "status.conditions.#.type") == (RunVerdict.SUCCEEDED, "", "")


@pytest.mark.parametrize("reason", ["GoalReached", "Suspended", "Deleted", "EarlyStopped"])
def test_a_trial_that_we_decided_to_stop_is_not_judged(reason: str) -> None:
    assert not is_judged(stopped(0, reason))
    assert not is_judged(lost(0))
    assert is_judged(run(0, exit_code=3))
    assert is_judged(stopped(0, "DeadlineExceeded"))


# What the trial comes to -----------------------------------------------------------------------


def test_exit_code_0_may_be_a_failure() -> None:
    end = judged(run(0), job_of(run(0)), Conditions(success=NEVER, failure="status.conditions"))
    assert outcome(end) == Ended(
        phase=TrialPhase.FAILED,
        reason="TrialFailed. Job reason: CompletionsReached",
        message="Trial has failed. Job message: Reached expected number of succeeded pods",
    )


def test_another_exit_code_may_be_a_success() -> None:
    end = run(0, exit_code=3)
    end = judged(end, job_of(end), Conditions(success="status.[@this].#(failed==1)", failure=NEVER))
    assert outcome(end) == Ended(
        phase=TrialPhase.SUCCEEDED,
        reason="TrialSucceeded",
        message="Trial has succeeded",
        value=0.5,
    )
    without = outcome(replace(end, job_reason="R", job_message="M"), SeenObservation(metrics=()))
    assert isinstance(without, Ended)
    assert without.reason == "MetricsUnavailable. Job reason: R"
    assert without.message.startswith("Metrics are not available: it ")
    assert without.message.endswith(". Job message: M")


def test_what_no_condition_matches_has_failed_and_says_so() -> None:
    end = judged(run(0), job_of(run(0)), Conditions(success=NEVER, failure=NEVER))
    assert outcome(end) == Ended(
        phase=TrialPhase.FAILED,
        reason="TrialFailed",
        message=(
            "Trial has failed: it ended (exit code 0), but neither successCondition nor "
            "failureCondition matches its Job"
        ),
    )


# The launcher's part ---------------------------------------------------------------------------


class Tidied(list[str]):
    """The runs whose private files were removed."""

    def __init__(self) -> None:
        super().__init__()
        self.launcher = MemoryWorld(lambda _run, _plan: Script()).launcher()
        self.launcher.tidy = self._tidy  # type: ignore[method-assign]

    async def _tidy(self, run_ids: Sequence[str]) -> None:
        self.extend(run_ids)


def template(success: str = JOB_SUCCESS, failure: str = JOB_FAILURE, **more: Any) -> TrialTemplate:
    return TrialTemplate(
        trial_spec={**OBJECT, "metadata": {"labels": {"x": "${trialParameters.x}"}}},
        parameters=(TrialParameter(name="x", reference="x"),),
        success_condition=success,
        failure_condition=failure,
        **more,
    )


async def judging(
    given: TrialTemplate | None, path: str | None = None, value: str = "7"
) -> tuple[Judging, Tidied]:
    """Over a store with the experiment and its trial 0, where x has the value."""
    world, tidied = StillWorld(), Tidied()
    collector = MetricsCollectorSpec(
        kind=CollectorKind.FILE if path else CollectorKind.STDOUT,
        path=MetricsPath(path=path, kind=PathKind.FILE) if path else None,
    )
    await world.prepare(experiment(spec(template=given, metrics_collector=collector)))
    trial = Trial(
        id=f"{UID}.0",
        uid=UID,
        version=1,
        namespace="ns",
        experiment="exp",
        index=0,
        name="exp-0",
        phase=TrialPhase.CREATED,
        assignments=(Assignment(name="x", value=value),),
        conditions=(),
        created_at=NOW,
    )
    await world.insert(TRIALS.name, TRIAL.encode(trial))
    return Judging(world.parts().store, tidied.launcher), tidied


async def test_the_rendered_object_is_what_conditions_see() -> None:
    success = 'metadata.[@this].#(labels.x=="7")'
    one, _ = await judging(template(success, NEVER))
    assert (await one.judge(run(0))).verdict is RunVerdict.SUCCEEDED
    other, _ = await judging(template(success.replace("7", "8"), NEVER))
    assert (await other.judge(run(0))).verdict is RunVerdict.UNDECIDED


@pytest.mark.parametrize(
    "given",
    [
        None,
        template(),
        template(JOB_SUCCESS.replace("==", " == "), f" {JOB_FAILURE}"),
    ],
    ids=["no template", "as defaulted", "with blanks"],
)
async def test_the_usual_conditions_are_left_to_the_exit_code(given: TrialTemplate | None) -> None:
    judge_, _ = await judging(given)
    assert await judge_.judge(run(0)) == run(0)
    assert await judge_.judge(run(0, exit_code=3)) == run(0, exit_code=3)


async def test_an_object_that_gets_too_long_with_its_values_is_judged_once_and_for_all() -> None:
    given = template("status", NEVER)
    notes = {f"x{n}": "${trialParameters.x}" for n in range(20)}
    long = replace(given, trial_spec={**OBJECT, "metadata": {"annotations": notes}})
    judge_, _ = await judging(long, value="7" * 100_000)
    end = await judge_.judge(run(0))
    assert end.verdict is RunVerdict.UNDECIDED
    assert "longer than" in end.job_message


async def test_runs_that_we_stopped_or_lost_are_left_as_they_are() -> None:
    judge_, _ = await judging(template("status", NEVER))
    for end in (stopped(0, "EarlyStopped"), lost(0)):
        assert await judge_.judge(end) == end
    assert (await judge_.judge(run(0, exit_code=9))).verdict is RunVerdict.SUCCEEDED


@pytest.mark.parametrize(
    ("given", "path", "goes"),
    [
        (template(), "/katib/m.log", True),
        (None, "/katib/m.log", True),
        (template(retain=True), "/katib/m.log", False),
        (template(), None, False),
    ],
    ids=["file", "no template", "retained", "no file"],
)
async def test_private_files_go_with_the_committed_end_unless_retained(
    given: TrialTemplate | None, path: str | None, goes: bool
) -> None:
    judge_, tidied = await judging(given, path)
    task = asyncio.ensure_future(judge_.tidy())
    try:
        for end in (run(0), run(1, phase=RunPhase.LOST)):
            await judge_.judge(end)
            judge_.ended(end.id)
        for _ in range(5):
            await asyncio.sleep(0)
        assert tidied == (["u.0.1", "u.1.1"] if goes else [])
    finally:
        task.cancel()
