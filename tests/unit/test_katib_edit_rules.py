"""Katib's rules 7, 8 and 9, by their numbers: which edits are refused, where, in which words."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.spec import AlgorithmSpec, ResumePolicy
from trialbus.testkit.experiment_states import finished, objective, spec, with_open
from trialbus_experiment.core.edit_rules import check_edit, restarts

LONG, NEVER = ResumePolicy.LONG_RUNNING, ResumePolicy.NEVER
MAX, GOAL = "ExperimentMaxTrialsReached", "ExperimentGoalReached"
RULE_7 = "Experiment can be restarted if it is in succeeded state by reaching max trials"
RULE_8 = "must be greater than status.trials count"


def running(**changes: Any) -> Experiment:
    return with_open(8, 9, spec_=spec(**changes))


def over(reason: str, policy: ResumePolicy, **changes: Any) -> Experiment:
    """After ten trials."""
    return finished(reason, spec(resume_policy=policy, **changes))


def failed(policy: ResumePolicy) -> Experiment:
    return finished("ExperimentFailed", spec(resume_policy=policy), ExperimentPhase.FAILED)


# rule, what is there, what is changed, field of the refusal, words of it.
REFUSED: list[tuple[int, Experiment, dict[str, Any], str, str]] = [
    (7, over(MAX, NEVER), {"max_trial_count": 20}, "spec.resumePolicy", RULE_7),
    (7, over(MAX, NEVER), {"parallel_trial_count": 1}, "spec.resumePolicy", RULE_7),
    (7, over(MAX, NEVER), {"objective": objective(goal=0.1)}, "spec.resumePolicy", RULE_7),
    (7, over(GOAL, LONG), {"max_trial_count": 20}, "spec.resumePolicy", RULE_7),
    (7, failed(LONG), {"max_failed_trial_count": 9}, "spec.resumePolicy", RULE_7),
    (
        8,
        over(MAX, LONG, max_trial_count=6),
        {"max_trial_count": 10},
        "spec.maxTrialCount",
        f"10: {RULE_8} (10)",
    ),
    (9, running(), {"algorithm": AlgorithmSpec(name="tpe")}, "spec.algorithm", "not editable"),
    (9, running(), {"resume_policy": LONG}, "spec.resumePolicy", "not editable"),
    (9, over(MAX, LONG), {"parameters": ()}, "spec.parameters", "not editable"),
]
# The same; whether it restarts.
TAKEN: list[tuple[int, Experiment, dict[str, Any], bool]] = [
    (7, over(MAX, LONG), {"max_trial_count": 20}, True),
    (7, over(MAX, LONG), {"max_trial_count": None}, True),
    (7, over(MAX, NEVER), {"suspend": True}, False),
    # Katib refuses these; its users may lower and change what it calls editable.
    (8, running(), {"max_trial_count": 3}, False),
    (8, running(), {"max_trial_count": 10, "parallel_trial_count": 7}, False),
    (8, over(MAX, LONG), {"max_trial_count": 3}, False),
    (8, over(MAX, LONG), {"parallel_trial_count": 7}, False),
    (9, running(), {"parallel_trial_count": 1, "max_failed_trial_count": 2}, False),
    (9, running(), {"objective": objective(goal=0.1)}, False),
    (9, running(), {"suspend": True}, False),
]


@pytest.mark.parametrize(("rule", "state", "changes", "field", "words"), REFUSED)
def test_an_edit_against_a_rule_is_refused(
    rule: int, state: Experiment, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        check_edit(state, replace(state.spec, **changes))
    found = {problem.field: problem.message for problem in refused.value.problems}
    assert words in found[field], f"rule {rule}: {found}"


def test_rule_9_says_what_may_be_edited() -> None:
    with pytest.raises(Refused) as refused:
        check_edit(running(), spec(algorithm=AlgorithmSpec(name="tpe")))
    last = refused.value.problems[-1]
    assert last.field == "spec"
    assert "spec.parallelTrialCount, spec.maxTrialCount, spec.maxFailedTrialCount" in last.message
    assert "are editable" in last.message


@pytest.mark.parametrize(("rule", "state", "changes", "again"), TAKEN)
def test_an_edit_that_the_rules_allow_is_taken(
    rule: int, state: Experiment, changes: dict[str, Any], again: bool
) -> None:
    wanted = replace(state.spec, **changes)
    check_edit(state, wanted)
    assert restarts(state, wanted) is again, f"rule {rule}"
