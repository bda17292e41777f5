"""Taking a trial out of `open`: counting it, numbering it, comparing it with the best."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from trialbus.kernel.experiment import BestTrial, ClosingTrial, OpenState, OpenTrial
from trialbus.kernel.ids import trial_name
from trialbus.kernel.opened_trials import assignments_of
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Assignment, MetricValues, TrialPhase
from trialbus_experiment.core.draft import Draft
from trialbus_experiment.core.observed import SeenObservation
from trialbus_experiment.core.outcomes import Ended

COUNTED_AS = {
    TrialPhase.SUCCEEDED: "succeeded",
    TrialPhase.FAILED: "failed",
    TrialPhase.KILLED: "killed",
    TrialPhase.EARLY_STOPPED: "early_stopped",
    TrialPhase.METRICS_UNAVAILABLE: "metrics_unavailable",
}
# Trials whose objective may be the best: those that ended as somebody decided.
COMPARED = frozenset({TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED})


def close(
    draft: Draft,
    index: int,
    ended: Ended,
    observation: SeenObservation | None,
    answer: Answer | None,
) -> None:
    """Count the trial in the very commit that takes it out of `open` (law 5)."""
    trial = draft.open.pop(index)
    finished = draft.state.finished + 1
    counted = COUNTED_AS[ended.phase]
    counts = draft.state.counts
    draft.set(
        finished=finished,
        counts=replace(counts, **{counted: getattr(counts, counted) + 1}),
    )
    draft.closing[index] = ClosingTrial(
        attempt=trial.attempt,
        request=trial.request,
        phase=ended.phase,
        finished=finished,
        reason=ended.reason,
        message=ended.message,
        closed_at=draft.now,
        opened_at=trial.opened_at,
    )
    draft.note(f"trial {index} {ended.phase.value}")
    if ended.value is not None and observation is not None and ended.phase in COMPARED:
        spec = draft.state.spec
        told = partial(assignments_of, spec, answer, index)
        compare(draft, index, ended.value, observation.metrics, told)


def close_paused(draft: Draft) -> None:
    """A paused trial has no attempt whose end could be seen: it ends with the experiment."""
    for index, trial in list(draft.open.items()):
        if trial.state is OpenState.PAUSED:
            ended = Ended(
                phase=TrialPhase.KILLED,
                reason="TrialKilled.Suspended",
                message="Trial was stopped: its experiment ended while it was suspended",
            )
            close(draft, index, ended, None, None)


def compare(
    draft: Draft,
    index: int,
    value: float | str,
    metrics: tuple[MetricValues, ...],
    assignments: Callable[[], tuple[Assignment, ...]],
) -> None:
    """Keep the best trial; the first of equals stays. Of texts the latest is the best, as in
    Katib."""
    state = draft.state
    text = value if isinstance(value, str) else ""
    number = math.nan if isinstance(value, str) else value
    better = state.spec.objective.better
    if not (text or state.best is None or better(number, state.best.value)):
        return
    draft.set(
        best=BestTrial(
            index=index,
            name=trial_name(state.name, state.id, index),
            value=number,
            text=text,
            assignments=assignments(),
            observation=metrics,
        )
    )


def reopened(trial: OpenTrial, now: float) -> OpenTrial:
    """The same trial as its next attempt."""
    return replace(trial, attempt=trial.attempt + 1, state=OpenState.ACTIVE, stop="", opened_at=now)
