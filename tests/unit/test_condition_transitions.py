"""The conditions of Experiment, Suggestion and Trial after each event, in Katib's order and words.

One row for each event; the tables are those of Katib's state machines. Where Katib's own differ
from what its documentation says, the row says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.katib.suggestion_views import suggestion_view
from trialbus.contracts.katib.views import trial_view
from trialbus.kernel.conditions import Conditions, set_condition
from trialbus.kernel.experiment import ClosingTrial, Experiment, OpenState, OpenTrial
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.run import Run, RunVerdict
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.suggestion import LookAhead
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    applied,
    experiment,
    finished,
    objective,
    request,
    run,
    running,
    spec,
    stopped,
    summary,
    with_open,
)
from trialbus_experiment.core.commands import create, delete, edit, suspend
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed, SeenObservation
from trialbus_experiment.core.outcomes import Ended, judge
from trialbus_experiment.core.trials import closed_trial, opened_trial

Told = tuple[str, bool, str, str]

CREATED: Told = ("Created", True, "ExperimentCreated", "Experiment is created")
RUNNING: Told = ("Running", True, "ExperimentRunning", "Experiment is running")
SUSPENDED: Told = ("Suspended", True, "ExperimentSuspended", "Experiment is suspended")
GOAL = "Experiment has succeeded because Objective goal has reached"
MAX = "Experiment has succeeded because max trial count has reached"
END = "Experiment has succeeded because suggestion service has reached the end"
FAILED = "Experiment has failed because max failed count has reached"
LONG = {"resume_policy": ResumePolicy.LONG_RUNNING}


def conditions(*told: Told) -> Conditions:
    made: Conditions = ()
    for type_, status, reason, message in told:
        made = set_condition(
            made, type_, status=status, reason=reason, message=message, now=NOW - 50
        )
    return made


def shown(made: Conditions) -> list[Told]:
    return [(it.type, it.status, it.reason, it.message) for it in made]


def at_the_end(state: Experiment, observed: Observed) -> Experiment:
    """Decided until nothing is left to do."""
    after = decide(state, observed, NOW).state
    settled = frozenset(map(int, after.closing))
    return decide(after, replace(observed, settled=settled), NOW).state


def with_one(value: float | None = 0.4, *, spec_: Any = None, **run_: Any) -> Experiment:
    """Its last trial ends by itself, and observed this."""
    state = with_open(0, spec_=spec_, conditions=conditions(CREATED, RUNNING))
    seen = {} if value is None else {0: SeenObservation(metrics=summary(value))}
    observed = Observed(runs={0: run(0, **run_)}, observations=seen, answers={1: answer()})
    return at_the_end(state, observed)


def first_trial() -> Experiment:
    state = experiment(
        phase=Phase.CREATED,
        conditions=conditions(CREATED),
        requests=(request(1),),
        next_request=2,
    )
    return decide(state, Observed(answers={1: answer()}), NOW).state


def spent_space() -> Experiment:
    state = experiment(
        exhausted=True, next_index=4, drawn=4, conditions=conditions(CREATED, RUNNING)
    )
    return at_the_end(state, Observed())


def refused_points() -> Experiment:
    state = experiment(phase=Phase.CREATED, conditions=conditions(CREATED), requests=(request(1),))
    seen = Observed(answers={1: answer(count=0, refused="no kernel fits")})
    return at_the_end(state, seen)


def suspended() -> Experiment:
    state = experiment(conditions=conditions(CREATED, RUNNING))
    return suspend(state, NOW, suspended=True).state


def ended(reason: str = "ExperimentMaxTrialsReached") -> Experiment:
    over: Sequence[Told] = (
        CREATED,
        ("Running", False, reason, MAX),
        ("Succeeded", True, reason, MAX),
    )
    return replace(finished(reason, spec(**LONG)), conditions=conditions(*over))


def restarted() -> Experiment:
    return edit(ended(), applied(spec(**LONG, max_trial_count=12)), NOW).state


def running_again() -> Experiment:
    asked = decide(restarted(), Observed(), NOW).state
    number = asked.requests[0].number
    points = answer(number, first=10, count=2)
    return decide(asked, Observed(answers={number: points}), NOW).state


def archived() -> Experiment:
    state = experiment(conditions=conditions(CREATED, RUNNING))
    return decide(delete(state, NOW, keep_history=True).state, Observed(), NOW).state


def over(type_: str, reason: str, message: str) -> list[Told]:
    return [CREATED, ("Running", False, reason, message), (type_, True, reason, message)]


# event -> how it comes about, what is shown then.
EXPERIMENT: dict[str, tuple[Callable[[], Experiment], list[Told]]] = {
    "created": (lambda: create(applied(spec()), NOW), [CREATED]),
    "created suspended": (
        lambda: create(applied(spec(suspend=True)), NOW),
        [CREATED, SUSPENDED],
    ),
    "the first trial opens": (first_trial, [CREATED, RUNNING]),
    "the goal is reached": (
        lambda: with_one(spec_=spec(objective=objective(goal=0.5))),
        over("Succeeded", "ExperimentGoalReached", GOAL),
    ),
    "the goal is reached by the last trial": (
        lambda: with_one(
            spec_=spec(objective=objective(goal=0.5), max_trial_count=1, parallel_trial_count=1)
        ),
        over("Succeeded", "ExperimentGoalReached", GOAL),
    ),
    "the last trial ends": (
        lambda: with_one(spec_=spec(max_trial_count=1, parallel_trial_count=1)),
        over("Succeeded", "ExperimentMaxTrialsReached", MAX),
    ),
    # Dead code in Katib; its documentation has it.
    "the space is spent": (
        spent_space,
        over("Succeeded", "ExperimentSuggestionEndReached", END),
    ),
    "too many trials failed": (
        lambda: with_one(None, spec_=spec(max_failed_trial_count=1), exit_code=1,
                         finished_at=NOW - 3600),
        over("Failed", "ExperimentFailed", FAILED),
    ),
    "a first failure where none is allowed": (
        lambda: with_one(None, spec_=spec(max_failed_trial_count=0), exit_code=1,
                         finished_at=NOW - 3600),
        over("Failed", "ExperimentFailed", FAILED),
    ),
    "too many failed, and no more trials are left": (
        lambda: with_one(
            None,
            spec_=spec(max_failed_trial_count=1, max_trial_count=1, parallel_trial_count=1),
            exit_code=1,
            finished_at=NOW - 3600,
        ),
        over("Failed", "ExperimentFailed", FAILED),
    ),
    "the suggestion failed": (
        refused_points,
        over("Failed", "ExperimentFailed", "Suggestion has failed: no kernel fits"),
    ),
    "suspended": (suspended, [CREATED, RUNNING, SUSPENDED]),
    "resumed": (
        lambda: suspend(suspended(), NOW, suspended=False).state,
        [CREATED, ("Running", True, "ExperimentResumed", "Experiment is running")],
    ),
    "restarted": (
        restarted,
        [
            CREATED,
            ("Running", False, "ExperimentMaxTrialsReached", MAX),
            ("Restarting", True, "ExperimentRestarting", "Experiment is restarted"),
        ],
    ),
    # Katib leaves Restarting True; its client's is_experiment_restarting promises otherwise.
    "runs again": (
        running_again,
        [CREATED, ("Restarting", False, "ExperimentRunning", "Experiment is running"), RUNNING],
    ),
    "deleted with its history kept": (
        archived,
        [
            CREATED,
            ("Running", False, "ExperimentDeleted", "Experiment was deleted"),
            ("Deleted", True, "ExperimentDeleted", "Experiment was deleted"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("event", EXPERIMENT)
def test_an_experiments_conditions(event: str) -> None:
    happen, expected = EXPERIMENT[event]
    assert shown(happen().conditions) == expected


# Suggestions -----------------------------------------------------------------------------------

S_CREATED = ("Created", True, "SuggestionCreated", "Suggestion is created")
S_READY = ("DeploymentReady", True, "DeploymentReady", "Deployment is ready")
S_RUNNING = ("Running", True, "SuggestionRunning", "Suggestion is running")
NOT_RUNNING = ("Running", False, "Suggestion is succeeded", "Suggestion is not running")
NOT_READY = ("DeploymentReady", False, "Suggestion is succeeded", "Deployment is not ready")
FROM = {"resume_policy": ResumePolicy.FROM_VOLUME}


def succeeded(ending: str) -> list[Told]:
    return [
        S_CREATED,
        NOT_RUNNING,
        NOT_READY,
        ("Succeeded", True, "Experiment is succeeded", f"Suggestion is succeeded, {ending}"),
    ]


def over_with(policy: ResumePolicy) -> Experiment:
    return finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))


def from_volume_again() -> Experiment:
    state = over_with(ResumePolicy.FROM_VOLUME)
    return edit(state, applied(spec(**FROM, max_trial_count=12)), NOW).state


SUGGESTION: dict[str, tuple[Callable[[], Experiment], list[Told]]] = {
    "created": (lambda: create(applied(spec()), NOW), [S_CREATED, S_READY]),
    "the first answer": (
        lambda: experiment(look_ahead=LookAhead.FREE),
        [S_CREATED, S_READY, S_RUNNING],
    ),
    "failed at once": (
        refused_points,
        [
            S_CREATED,
            S_READY,
            ("Running", False, "SuggestionRunning", "Suggestion is running"),
            ("Failed", True, "SuggestionFailed", "Suggestion has failed: no kernel fits"),
        ],
    ),
    "ended, Never": (lambda: over_with(ResumePolicy.NEVER), succeeded("can't be restarted")),
    "ended, FromVolume": (
        lambda: over_with(ResumePolicy.FROM_VOLUME),
        succeeded("suggestion volume is not deleted, can be restarted"),
    ),
    "ended, LongRunning": (
        lambda: over_with(ResumePolicy.LONG_RUNNING),
        [S_CREATED, S_READY, S_RUNNING],
    ),
    "restarting, FromVolume": (
        from_volume_again,
        [
            S_CREATED,
            S_READY,
            ("Running", False, "Experiment is restarting", "Suggestion is not running"),
        ],
    ),
    "restarting, LongRunning": (restarted, [S_CREATED, S_READY, S_RUNNING]),
}


def told_by(view: dict[str, Any]) -> list[Told]:
    return [
        (it["type"], it["status"] == "True", it["reason"], it["message"])
        for it in view["status"]["conditions"]
    ]


@pytest.mark.parametrize("event", SUGGESTION)
def test_a_suggestions_conditions(event: str) -> None:
    happen, expected = SUGGESTION[event]
    assert told_by(suggestion_view(happen())) == expected


# Trials ----------------------------------------------------------------------------------------

T_CREATED = ("Created", True, "TrialCreated", "Trial is created")
T_RUNNING = ("Running", True, "TrialRunning", "Trial is running")
EARLY_STOPPED = ("EarlyStopped", True, "TrialEarlyStopped", "Trial is early stopped")
NOTHING = (
    "Metrics are not available: it reported no value of 'loss'; looked for lines like loss=0.9"
)


def after_running(type_: str, reason: str, message: str) -> list[Told]:
    return [T_CREATED, ("Running", False, reason, message), (type_, True, reason, message)]


# event -> the run, what was observed of it, what is shown then.
TRIAL: dict[str, tuple[Run | None, tuple[float, ...] | None, list[Told]]] = {
    "opened": (None, None, [T_CREATED]),
    "its run started": (running(0), None, [T_CREATED, T_RUNNING]),
    "ended well": (
        run(0),
        (0.5,),
        after_running("Succeeded", "TrialSucceeded", "Trial has succeeded"),
    ),
    "its success condition matched": (
        run(0, verdict=RunVerdict.SUCCEEDED, job_reason="Done", job_message="all of it"),
        (0.5,),
        after_running(
            "Succeeded",
            "TrialSucceeded. Job reason: Done",
            "Trial has succeeded. Job message: all of it",
        ),
    ),
    "ended well without a value": (
        run(0),
        (),
        after_running("MetricsUnavailable", "MetricsUnavailable", NOTHING),
    ),
    "failed": (
        run(0, exit_code=3),
        (),
        after_running("Failed", "TrialFailed", "Trial has failed: exit code 3"),
    ),
    "its failure condition matched": (
        run(0, verdict=RunVerdict.FAILED, job_reason="BackoffLimitExceeded"),
        (0.5,),
        after_running(
            "Failed", "TrialFailed. Job reason: BackoffLimitExceeded", "Trial has failed"
        ),
    ),
    # In Katib nothing sets Running to False here.
    "stopped early": (
        stopped(0, "EarlyStopped"),
        (0.5,),
        [T_CREATED, T_RUNNING, EARLY_STOPPED],
    ),
    # Katib has the type and never sets it.
    "stopped at the goal": (
        stopped(0, "GoalReached"),
        (0.5,),
        after_running(
            "Killed", "TrialKilled.GoalReached", "Trial was stopped: GoalReached"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("event", TRIAL)
def test_a_trials_conditions(event: str) -> None:
    run_, values, expected = TRIAL[event]
    state = with_open(0)
    opened = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=NOW - 10)
    trial = opened_trial(state, 0, opened, answer())
    if run_ is not None and run_.ended:
        seen = SeenObservation(metrics=summary(*values) if values else ())
        outcome = judge(run_, seen, objective=objective(), lost_before=0, stop_wanted="", now=NOW)
        assert isinstance(outcome, Ended)
        closing = ClosingTrial(
            attempt=1,
            request=1,
            phase=outcome.phase,
            finished=1,
            reason=outcome.reason,
            message=outcome.message,
            closed_at=NOW,
        )
        trial = closed_trial(trial, (), closing, run_, seen, state.spec)
    assert told_by(trial_view(trial, state, run_)) == expected
