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
    "max_duration_s",
    "max_resource_seconds",
    "keep_best",
)
_ANNOTATION = "metadata.annotations[trialbus.io/"
# Of these, what annotations order: metadata, which is no change of the spec.
ORDERS = ("at_goal", "max_duration_s", "max_resource_seconds", "keep_best")
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
    "metadata.annotations[trialbus.io/counted-resource]": lambda spec: spec.counted_resource,
    "metadata.annotations[trialbus.io/warm-start-from]": lambda spec: spec.warm_start_from,
    "workingDir": lambda spec: spec.working_dir,
}
MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"
MAX_DURATION_REACHED = "ExperimentMaxDurationReached"
MAX_RESOURCES_REACHED = "ExperimentMaxResourceSecondsReached"
# Why an experiment ended that a larger budget lets go on.
_BUDGETS_REACHED = frozenset({MAX_TRIALS_REACHED, MAX_DURATION_REACHED, MAX_RESOURCES_REACHED})

_EDITABLE_NAMES = (
    "spec.parallelTrialCount, spec.maxTrialCount, spec.maxFailedTrialCount, spec.objective.goal, "
    "spec.suspend and the annotations trialbus.io/max-duration, max-resource-seconds, at-goal "
    "and keep-best"
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
    reached = _reached_a_budget(state)
    if not reached or wanted.resume_policy is ResumePolicy.NEVER:
        raise Refused([Problem(field="spec.resumePolicy", message=_final(state, reached))])
    _large_enough(state, wanted)


def is_over(state: Experiment) -> bool:
    """Whether the verdict is known: Katib shows it from then on."""
    return state.ended or state.phase is ExperimentPhase.ENDING


def budget_differs(old: ExperimentSpec, new: ExperimentSpec) -> bool:
    """Whether more than `suspend`, and what is neither budget nor goal, does."""
    same = replace(new, suspend=old.suspend, at_goal=old.at_goal, keep_best=old.keep_best)
    return same != old


def restarts(state: Experiment, wanted: ExperimentSpec) -> bool:
    """Whether an edit that was checked lets an experiment that is over go on."""
    more = (
        _above(wanted.max_trial_count, state.next_index)
        and _above(wanted.max_duration_s, state.ran_s)
        and _above(wanted.max_resource_seconds, state.spent)
    )
    return is_over(state) and more and budget_differs(state.spec, wanted)


def with_orders_of(old: ExperimentSpec, new: ExperimentSpec) -> ExperimentSpec:
    """The new one, but for what annotations order."""
    return replace(new, **{name: getattr(old, name) for name in ORDERS})


def _above(limit: float | None, spent: float) -> bool:
    return limit is None or limit > spent


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


def _reached_a_budget(state: Experiment) -> bool:
    if state.verdict is not None and state.phase is ExperimentPhase.ENDING:
        return state.verdict.reason in _BUDGETS_REACHED
    return any(
        condition.type == "Succeeded" and condition.reason in _BUDGETS_REACHED
        for condition in state.conditions
    )


def _large_enough(state: Experiment, wanted: ExperimentSpec) -> None:
    """Rule 8: who raises the budget of what is over wants it to go on. Says every one that is
    spent."""
    old = state.spec
    counts = f"must be greater than status.trials count ({state.next_index})"
    budgets = [
        ("spec.maxTrialCount", old.max_trial_count, wanted.max_trial_count, state.next_index),
        (f"{_ANNOTATION}max-duration]", old.max_duration_s, wanted.max_duration_s, state.ran_s),
        (
            f"{_ANNOTATION}max-resource-seconds]",
            old.max_resource_seconds,
            wanted.max_resource_seconds,
            state.spent,
        ),
    ]
    raised = any(was and limit and limit > was for _, was, limit, _ in budgets)
    if not raised or restarts(state, wanted):
        return
    raise Refused(
        [
            Problem(
                field=field,
                message=f"{limit}: {counts}"
                if field == "spec.maxTrialCount"
                else f"{limit:g} s: must be greater than what is spent ({spent:.10g} s)",
            )
            for field, _, limit, spent in budgets
            if limit is not None and not _above(limit, spent)
        ]
    )


def _final(state: Experiment, reached: bool) -> str:
    """Why it cannot go on, then rule 7 in Katib's words."""
    if reached:
        why = (
            "the experiment has finished, and its resumePolicy is Never; resumePolicy: "
            "LongRunning, set when it is created, would allow a larger maxTrialCount"
        )
    else:
        last = state.verdict.reason if state.verdict is not None else state.phase.value
        why = f"the experiment has finished ({last}), not by reaching a budget"
    return (
        f"{why}. {_RULE_7}. To run it again, give it another name, or delete it "
        "(`trialbus run --anew` deletes it and starts anew)"
    )
