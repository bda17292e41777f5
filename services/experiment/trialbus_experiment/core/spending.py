"""Budgets of time: wall time, and resource-seconds of all attempts, those that were lost too.

An attempt is paid for in the very commit that takes its end in, so the account is exact whatever
fails. Those that run are counted while they do: a budget ends them when it is spent, and so may
be passed by what trials do between two looks.
"""

from trialbus.kernel.durations import duration_text
from trialbus.kernel.experiment import ExperimentPhase, OpenState
from trialbus.kernel.resources import weight_of
from trialbus.kernel.run import Run
from trialbus.kernel.spec import AtGoal, ExperimentSpec
from trialbus_experiment.core.draft import Draft
from trialbus_experiment.core.edit_rules import MAX_DURATION_REACHED, MAX_RESOURCES_REACHED
from trialbus_experiment.core.observed import Observed

TIME_BUDGETS = frozenset({MAX_DURATION_REACHED, MAX_RESOURCES_REACHED})


def charge(draft: Draft, run: Run) -> None:
    """Pay for an attempt that has ended."""
    paid_s = ran_s(run, draft.now)
    if paid_s:
        draft.set(spent=draft.state.spent + paid_s * _weight(draft.state.spec))


def ran_s(run: Run, now: float) -> float:
    """How long an attempt has run, so far or in all."""
    if run.started_at is None:
        return 0.0
    return max(0.0, (now if run.finished_at is None else run.finished_at) - run.started_at)


def _weight(spec: ExperimentSpec) -> float:
    return weight_of(spec.template, spec.counted_resource)


def judge_time(draft: Draft, observed: Observed) -> None:
    """Note whether a budget of time is spent: then no trial opens. Those that run are stopped, or,
    with `at-goal: drain`, awaited; then the experiment is over."""
    draft.out_of_time = _spent_budget(draft, observed)


def verdict_of_time(draft: Draft) -> tuple[ExperimentPhase, str, str] | None:
    """How an experiment ends whose time is over: without any result it has failed. None: it is
    not, or trials are awaited."""
    if draft.out_of_time is None:
        return None
    alive = any(it.state is not OpenState.PAUSED for it in draft.open.values())
    if alive and draft.state.spec.at_goal is AtGoal.DRAIN:
        return None
    return time_verdict(draft, draft.out_of_time)


def time_verdict(draft: Draft, reason: str) -> tuple[ExperimentPhase, str, str]:
    spec, found = draft.state.spec, draft.state.best is not None
    if reason == MAX_DURATION_REACHED:
        what = f"max duration ({duration_text(spec.max_duration_s or 0)})"
    else:
        what = f"max resource-seconds ({spec.max_resource_seconds:g} of {spec.counted_resource})"
    if found:
        message = f"Experiment has succeeded because {what} has reached"
        return ExperimentPhase.SUCCEEDED, reason, message
    message = f"Experiment has failed because {what} has reached before any result"
    return ExperimentPhase.FAILED, reason, message


def _spent_budget(draft: Draft, observed: Observed) -> str | None:
    """Why no more may be spent."""
    state, spec = draft.state, draft.state.spec
    if spec.max_duration_s is not None and state.ran_until(draft.now) >= spec.max_duration_s:
        return MAX_DURATION_REACHED
    if spec.max_resource_seconds is None:
        return None
    running_s = sum(
        ran_s(run, draft.now)
        for index, trial in draft.open.items()
        if trial.state is OpenState.ACTIVE
        and (run := observed.runs.get(index)) is not None
        and run.attempt == trial.attempt
    )
    over = state.spent + running_s * _weight(spec) >= spec.max_resource_seconds
    return MAX_RESOURCES_REACHED if over else None
