"""Which changes of an experiment are taken: Katib's rules 7, 8 and 9.

They differ from Katib's where its own stand in the way: a budget may always be lowered (8), the
goal and suspending may change too (9). Its other rules concern one object alone and are in
`trialbus.contracts.katib.rules`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.spec import ExperimentSpec, ResumePolicy

# What may change while an experiment lives; everything else is what was tuned.
EDITABLE = (
    "parallel_trial_count",
    "max_trial_count",
    "max_failed_trial_count",
    "suspend",
    "at_goal",
)
# All the others, as a user writes them.
FIXED: Mapping[str, Callable[[ExperimentSpec], object]] = {
    "spec.parameters": lambda spec: spec.parameters,
    "spec.nasConfig": lambda spec: spec.nas,
    "spec.objective.type": lambda spec: spec.objective.type,
    "spec.objective.objectiveMetricName": lambda spec: spec.objective.metric,
    "spec.objective.additionalMetricNames": lambda spec: spec.objective.additional,
    "spec.objective.metricStrategies": lambda spec: spec.objective.strategies,
    "spec.algorithm": lambda spec: spec.algorithm,
    "spec.earlyStopping": lambda spec: spec.early_stopping,
    "spec.trialTemplate": lambda spec: spec.template,
    "spec.metricsCollectorSpec": lambda spec: spec.metrics_collector,
    "spec.resumePolicy": lambda spec: spec.resume_policy,
    "metadata.annotations[trialbus.io/trials-by]": lambda spec: spec.trials_by,
    "workingDir": lambda spec: spec.working_dir,
}
MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"

_EDITABLE_NAMES = (
    "spec.parallelTrialCount, spec.maxTrialCount, spec.maxFailedTrialCount, spec.objective.goal "
    "and spec.suspend"
)
_RULE_7 = (
    "Experiment can be restarted if it is in succeeded state by reaching max trials and "
    "spec.resumePolicy = LongRunning or spec.resumePolicy = FromVolume, when experiment is "
    "completed"
)


def check_edit(state: Experiment, wanted: ExperimentSpec) -> None:
    """Raises Refused. Suspending and what happens at the goal concern nobody any more once the
    verdict is known."""
    _only_editable(state.spec, wanted)
    if not is_over(state) or not budget_differs(state.spec, wanted):
        return
    reached = _reached_max_trials(state)
    if not reached or wanted.resume_policy is ResumePolicy.NEVER:
        raise Refused([Problem(field="spec.resumePolicy", message=_final(state, reached))])
    _large_enough(state, wanted)


def is_over(state: Experiment) -> bool:
    """Whether the verdict is known: Katib shows it from then on."""
    return state.ended or state.phase is ExperimentPhase.ENDING


def budget_differs(old: ExperimentSpec, new: ExperimentSpec) -> bool:
    """Whether more than `suspend` and `at_goal` does."""
    return replace(new, suspend=old.suspend, at_goal=old.at_goal) != old


def restarts(state: Experiment, wanted: ExperimentSpec) -> bool:
    """Whether an edit that was checked lets an experiment that is over go on."""
    more = wanted.max_trial_count is None or wanted.max_trial_count > state.next_index
    return is_over(state) and more and budget_differs(state.spec, wanted)


def _only_editable(old: ExperimentSpec, new: ExperimentSpec) -> None:
    """Rule 9."""
    same = {name: getattr(new, name) for name in EDITABLE}
    goal = replace(old.objective, goal=new.objective.goal)
    if replace(old, **same, objective=goal) == new:
        return
    changed = [field for field, read in FIXED.items() if read(old) != read(new)]
    problems = [Problem(field=field, message=_changed(field, old, new)) for field in changed]
    problems.append(
        Problem(
            field="spec",
            message=f"only {_EDITABLE_NAMES} are editable; "
            "give the new experiment another name, or delete the one that is there "
            "(`trialbus run --anew` deletes it and starts anew)",
        )
    )
    raise Refused(problems)


def _changed(field: str, old: ExperimentSpec, new: ExperimentSpec) -> str:
    if field == "workingDir":
        return f"is {new.working_dir}, but the experiment was created in {old.working_dir}"
    return "differs from that of the experiment that is there, and is not editable"


def _reached_max_trials(state: Experiment) -> bool:
    if state.verdict is not None and state.phase is ExperimentPhase.ENDING:
        return state.verdict.reason == MAX_TRIALS_REACHED
    return any(
        condition.type == "Succeeded" and condition.reason == MAX_TRIALS_REACHED
        for condition in state.conditions
    )


def _large_enough(state: Experiment, wanted: ExperimentSpec) -> None:
    """Rule 8: who raises the budget of what is over wants it to go on."""
    old, new = state.spec.max_trial_count, wanted.max_trial_count
    raised = old is not None and new is not None and new > old
    if raised and not restarts(state, wanted):
        message = f"{new}: must be greater than status.trials count ({state.next_index})"
        raise Refused([Problem(field="spec.maxTrialCount", message=message)])


def _final(state: Experiment, reached: bool) -> str:
    """Why it cannot go on, then rule 7 in Katib's words."""
    if reached:
        why = (
            "the experiment has finished, and its resumePolicy is Never; resumePolicy: "
            "LongRunning, set when it is created, would allow a larger maxTrialCount"
        )
    else:
        last = state.verdict.reason if state.verdict is not None else state.phase.value
        why = f"the experiment has finished ({last}), not by reaching max trials"
    return (
        f"{why}. {_RULE_7}. To run it again, give it another name, or delete it "
        "(`trialbus run --anew` deletes it and starts anew)"
    )
