"""Explanations and progress of the gateway: pure functions of documents."""

import math
from dataclasses import replace

import pytest

from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.experiment import (
    BestTrial,
    ClosingTrial,
    Counts,
    ExperimentPhase,
    OpenState,
    OpenTrial,
    Verdict,
)
from trialbus.kernel.ids import trial_name
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer, LookAhead, PointsRequest
from trialbus.kernel.trial import Assignment, MetricValues, TrialPhase
from trialbus.testkit.gateway_documents import UID, condition, experiment, opened, run, trial
from trialbus_experiment.core.stalls import STALLS
from trialbus_gateway.core.experiment_story import tell_experiment
from trialbus_gateway.core.progress import count_trials
from trialbus_gateway.core.stories import Step, Story, for_s
from trialbus_gateway.core.trial_story import TrialFacts, tell_trial

NOW = 1_000.0


def waits(story: Story) -> list[Step]:
    return [step for step in story.chain if step.event == "waiting"]


NAME = trial_name("tune", UID, 0)


@pytest.mark.parametrize(
    ("open_", "seen", "reason", "since", "message"),
    [
        (
            opened(),
            None,
            "WaitsForLauncher",
            200.0,
            f"attempt 1 of {NAME} has waited 13 min for a launcher to start it",
        ),
        (opened(), run(), "Running", 301.0, f"attempt 1 of {NAME} has run on box for 12 min"),
        (
            opened(stop="GoalReached"),
            run(),
            "GoalReached",
            301.0,
            f"attempt 1 of {NAME} runs on box and is being stopped: GoalReached",
        ),
        (
            opened(),
            run(phase=RunPhase.FINISHED, finished_at=999.0, exit_code=0),
            "WaitsForMetrics",
            999.0,
            f"attempt 1 of {NAME} ended 1.0 s ago: waits until all its metrics are stored",
        ),
        (
            opened(),
            run(phase=RunPhase.LOST, finished_at=990.0),
            "AttemptLost",
            990.0,
            f"attempt 1 of {NAME} was lost: waits for its next attempt",
        ),
        (
            opened(state=OpenState.PAUSED),
            run(phase=RunPhase.FINISHED, finished_at=990.0),
            "Suspended",
            200.0,
            f"{NAME} waits until the experiment is resumed",
        ),
    ],
)
def test_an_open_trial_says_what_it_waits_for(
    open_: OpenTrial, seen: Run | None, reason: str, since: float, message: str
) -> None:
    state = experiment(open={"0": open_}, next_index=1)
    runs = {} if seen is None else {0: seen}
    expected = Step(at=since, event="waiting", reason=reason, message=message)
    assert waits(tell_experiment(state, runs, [], NOW)) == [expected]
    told = tell_trial(TrialFacts(trial=trial(), experiment=state, runs=list(runs.values())), NOW)
    assert waits(told.story) == [expected]
    assert (told.story.standing.reason, told.story.standing.message) == (reason, message)


def test_a_trial_of_workers_waits_for_a_worker() -> None:
    state = experiment(open={"0": opened()}, next_index=1)
    state = replace(state, spec=replace(state.spec, trials_by=TrialsBy.WORKERS))
    message = f"attempt 1 of {NAME} has waited 13 min for a worker to ask for it"
    expected = Step(at=200.0, event="waiting", reason="WaitsForWorker", message=message)
    assert waits(tell_experiment(state, {}, [], NOW)) == [expected]
    assert waits(tell_trial(TrialFacts(trial=trial(), experiment=state), NOW).story) == [expected]


def test_an_unanswered_request_says_since_when() -> None:
    request = PointsRequest(number=3, first=4, count=2, watermark=1, asked_at=996.0)
    answered = replace(request, number=2, got=2)
    told = tell_experiment(experiment(requests=(answered, request)), {}, [], NOW)
    [wait] = waits(told)
    assert (wait.at, wait.reason) == (996.0, "WaitsForSuggestion")
    assert wait.message == "request 3 for 2 points has waited 4.0 s for an answer"


@pytest.mark.parametrize("reason", sorted(STALLS))
def test_a_stall_is_told_with_the_time_it_was_noticed(reason: str) -> None:
    stalled = replace(condition("Running", reason, 500.0, "2 trials wait"), transitioned_at=101.0)
    told = tell_experiment(experiment(conditions=(stalled,)), {}, [], NOW)
    assert [(step.at, step.event, step.message) for step in told.chain[:2]] == [
        (101.0, "running", "Experiment is running"),
        (500.0, "stalled", "2 trials wait"),
    ]
    assert told.chain[1].reason == reason
    assert told.standing.reason == reason


def test_an_experiment_that_nobody_looks_at_says_so() -> None:
    told = tell_experiment(experiment(), {}, [], NOW)
    assert [step.reason for step in waits(told)] == ["WaitsForExperimentService"]


def test_many_open_trials_are_counted_not_listed() -> None:
    state = experiment(open={str(i): opened() for i in range(25)}, next_index=25)
    told = waits(tell_experiment(state, {}, [], NOW))
    assert len(told) == 21
    assert [step.message for step in told if "more" in step.message] == ["and 5 more open trials"]


def test_an_ending_experiment_tells_its_verdict_and_what_it_still_waits_for() -> None:
    closing = ClosingTrial(
        attempt=1,
        request=1,
        phase=TrialPhase.SUCCEEDED,
        finished=1,
        reason="TrialSucceeded",
        message="",
        closed_at=700.0,
    )
    state = experiment(
        phase=ExperimentPhase.ENDING,
        verdict=Verdict(
            phase=ExperimentPhase.SUCCEEDED, reason="ExperimentGoalReached", message="goal reached"
        ),
        closing={"0": closing},
        next_index=1,
        finished=1,
        counts=Counts(succeeded=1),
    )
    told = tell_experiment(state, {}, [], NOW)
    assert (told.state, told.standing.reason) == ("Ending", "ExperimentGoalReached")
    verdict = next(step for step in told.chain if step.event == "verdict")
    assert verdict.at == 700.0
    assert verdict.message == "it will have succeeded: goal reached"
    assert [step.reason for step in waits(told)] == ["WaitsForDocuments"]


def test_a_failed_experiment_tells_which_trials_failed_and_waits_for_nothing() -> None:
    failed = trial(
        phase=TrialPhase.FAILED,
        reason="TrialFailed",
        message="Trial has failed: exit code 1",
        completed_at=600.0,
        finished=1,
    )
    state = experiment(
        phase=ExperimentPhase.FAILED,
        completed_at=601.0,
        next_index=3,
        finished=3,
        counts=Counts(failed=1, killed=2),
        conditions=(
            condition("Created", "ExperimentCreated", 100.0),
            replace(condition("Running", "ExperimentFailed", 601.0), status=False),
            condition("Failed", "ExperimentFailed", 601.0, "max failed count has reached"),
        ),
    )
    told = tell_experiment(state, {}, [failed], NOW, began_at=102.0)
    assert [(step.at, step.event) for step in told.chain] == [
        (100.0, "created"),
        (102.0, "running"),
        (600.0, "trial failed"),
        (601.0, "failed"),
        (601.0, "trials"),
    ]
    assert told.chain[2].message == f"{NAME}: Trial has failed: exit code 1"
    assert told.chain[4].message == "3 of 5 trials opened: 1 failed, 2 killed"
    assert told.standing.message == "max failed count has reached"


def test_a_suspended_restarted_experiment_tells_each_condition_in_the_order_of_time() -> None:
    again = replace(condition("Running", "ExperimentRunning", 101.0, "Experiment is running"))
    state = experiment(
        phase=ExperimentPhase.SUSPENDED,
        conditions=(
            condition("Created", "ExperimentCreated", 100.0, "Experiment is created"),
            condition("Suspended", "ExperimentSuspended", 400.0, "Experiment is suspended"),
            condition("Restarting", "ExperimentRestarting", 300.0, "Experiment is restarted"),
            replace(again, transitioned_at=301.0, updated_at=350.0),
        ),
        open={"0": opened(state=OpenState.PAUSED)},
        next_index=1,
    )
    told = tell_experiment(state, {}, [], NOW, began_at=101.0)
    assert [(step.at, step.event, step.message) for step in told.chain] == [
        (100.0, "created", "Experiment is created"),
        (300.0, "restarted", "Experiment is restarted"),
        (301.0, "running", "Experiment is running"),
        (350.0, "running", "Experiment is running again"),
        (400.0, "suspended", "Experiment is suspended"),
        (400.0, "trials", "1 of 5 trials opened: 1 open"),
        (200.0, "waiting", f"{NAME} waits until the experiment is resumed"),
    ]


ANSWER = Answer(
    id=f"{UID}:2",
    uid=UID,
    version=1,
    number=2,
    first=0,
    watermark=1,
    seed=42,
    points=(("0.5",), ("0.6",)),
    exhausted=False,
    look_ahead=LookAhead.FREE,
    refused=None,
    answered_at=150.0,
    took_s=0.0125,
)
VERDICT = StoppingVerdict(
    rule="medianstop",
    stop=True,
    step=4,
    reason="best objective 0.3 by step 4 is worse than 0.5, the median",
    best=0.3,
    median=0.5,
    completed=2,
    watermark=3,
    to_byte=120,
    decided_at=440.0,
)
CHAIN = [
    (
        150.0,
        "point drawn",
        "point 1 of 2 in the answer to request 2, drawn in 0.013 s with seed 42,"
        " knowing 1 finished trial",
    ),
    (200.0, "created", "Trial is created with lr=0.5"),
    (300.0, "taken", "attempt 1 was taken by the launcher on box"),
    (301.0, "started", "attempt 1 began to run on box"),
    (350.0, "lost", "attempt 1 left no result (the machine restarted)"),
    (400.0, "taken", "attempt 2 was taken by the launcher on box"),
    (401.0, "started", "attempt 2 began to run on box"),
    (
        440.0,
        "judged",
        "attempt 2 is to stop after step 4 by the rule medianstop:"
        " best objective 0.3 by step 4 is worse than 0.5, the median",
    ),
    (449.0, "ended", "attempt 2 was ended by signal 15, stopped by us: EarlyStopped"),
    (450.0, "observed", "accuracy: latest nan, min 0.1, max 0.3"),
    (450.0, "early stopped", "Trial is early stopped (trial number 3 to end)"),
]


def test_a_trial_is_told_from_its_point_to_its_end() -> None:
    ended = trial(
        phase=TrialPhase.EARLY_STOPPED,
        attempt=2,
        reason="TrialEarlyStopped",
        message="Trial is early stopped",
        observation=(MetricValues(name="accuracy", min=0.1, max=0.3, latest=math.nan),),
        completed_at=450.0,
        finished=3,
        log_tail="accuracy=nan\n",
    )
    lost = run(phase=RunPhase.LOST, finished_at=350.0, message="the machine restarted")
    stopped = run(
        attempt=2,
        created_at=400.0,
        started_at=401.0,
        phase=RunPhase.FINISHED,
        finished_at=449.0,
        signal=15,
        stop_reason="EarlyStopped",
        log_tail="accuracy=nan\n",
    )
    told = tell_trial(
        TrialFacts(
            trial=ended,
            experiment=experiment(),
            answer=ANSWER,
            runs=[lost, stopped],
            verdicts={2: VERDICT},
        ),
        NOW,
    )
    told_chain = [(step.at, step.event, step.message) for step in told.story.chain]
    assert told_chain == CHAIN
    assert [step.reason for step in told.story.chain if step.event == "judged"] == ["StoppedByRule"]
    assert [step.reason for step in told.story.chain if " " in step.reason] == []
    assert (told.exit_code, told.signal, told.stop_reason) == (None, 15, "EarlyStopped")
    assert (told.evidence, told.log_tail) == (VERDICT, "accuracy=nan\n")
    assert told.story.state == "EarlyStopped"


def test_a_counted_trial_shows_its_end_before_its_own_document_does() -> None:
    closing = ClosingTrial(
        attempt=1,
        request=1,
        phase=TrialPhase.FAILED,
        finished=1,
        reason="TrialFailed",
        message="exit code 2",
        closed_at=700.0,
    )
    told = tell_trial(TrialFacts(trial=trial(), experiment=experiment(closing={"0": closing})), NOW)
    assert (told.story.state, told.story.standing.message) == ("Failed", "exit code 2")
    assert told.story.chain[-1].event == "failed"


def test_the_counts_of_progress_add_up_to_the_trials_so_far() -> None:
    state = experiment(
        open={"3": opened(), "4": opened(), "5": opened(state=OpenState.PAUSED)},
        next_index=9,
        counts=Counts(succeeded=1, failed=1, killed=1, early_stopped=2, metrics_unavailable=1),
    )
    counts = count_trials(state, running=1)
    assert (counts.created, counts.pending, counts.paused, counts.running) == (9, 1, 1, 1)
    assert counts.created == sum(
        (
            counts.pending,
            counts.paused,
            counts.running,
            counts.succeeded,
            counts.failed,
            counts.killed,
            counts.early_stopped,
            counts.metrics_unavailable,
        )
    )


BEST = BestTrial(
    index=0,
    name=NAME,
    value=0.8,
    assignments=(Assignment(name="lr", value="0.5"),),
    observation=(),
)


@pytest.mark.parametrize(
    ("phase", "words"),
    [(ExperimentPhase.RUNNING, "best so far"), (ExperimentPhase.SUCCEEDED, "best")],
)
def test_what_is_over_has_a_best_and_not_one_so_far(phase: ExperimentPhase, words: str) -> None:
    state = experiment(phase=phase, best=BEST, next_index=1, counts=Counts(succeeded=1))
    told = next(it for it in tell_experiment(state, {}, [], NOW).chain if it.event == "trials")
    assert told.message == (
        f"1 of 5 trials opened: 1 succeeded; {words} {NAME} with accuracy = 0.8"
    )


@pytest.mark.parametrize(
    ("since", "text"), [(999.0, "1.0 s"), (700.0, "5 min"), (-9000.0, "2.8 h"), (1001.0, "0.0 s")]
)
def test_durations_read_well(since: float, text: str) -> None:
    assert for_s(since, NOW) == text
