"""What a trial is when it opens: the same whoever makes it, however often."""

from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.experiment import ClosingTrial, Experiment, OpenTrial
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Assignment, Trial, TrialPhase


def assignments_of(
    spec: ExperimentSpec, answer: Answer | None, index: int
) -> tuple[Assignment, ...]:
    """The parameters of trial `index`, out of the answer that holds its point."""
    if answer is None or not 0 <= index - answer.first < len(answer.points):
        raise InvariantBroken(f"no point for trial {index}")
    values = answer.points[index - answer.first]
    return tuple(
        Assignment(name=name, value=value)
        for name, value in zip(spec.assignment_names, values, strict=True)
    )


def opened(state: Experiment, index: int, open_: OpenTrial | ClosingTrial, answer: Answer) -> Trial:
    """Without the event of its opening. Raises InvariantBroken: the answer has not its point."""
    at = opened_at(open_)
    return Trial(
        id=trial_id(state.id, index),
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=index,
        name=trial_name(state.name, state.id, index),
        phase=TrialPhase.CREATED,
        assignments=assignments_of(state.spec, answer, index),
        conditions=set_condition(
            (), "Created", reason="TrialCreated", message="Trial is created", now=at
        ),
        created_at=at,
        labels=answer.mark(index).labels,
        parent=answer.mark(index).parent,
    )


def opened_at(open_: OpenTrial | ClosingTrial) -> float:
    if isinstance(open_, ClosingTrial) and open_.opened_at is None:
        return open_.closed_at
    return open_.opened_at or 0.0
