"""asha and hyperband under crashes and lost messages: promotions, resources, the same answers."""

from collections import Counter
from random import Random

import pytest

from trialbus.contracts.documents import ANSWER, TRIAL
from trialbus.kernel.proposals import FinishedTrial, ProposalRequest, Study
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial
from trialbus.testkit.law_probes import Play
from trialbus.testkit.outcome_checks import check_outcome
from trialbus.testkit.scenario import Outcome, Story
from trialbus_suggestion.core.registry import Registry

RESOURCES = ("1", "3", "9", "27")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_whatever_happens_the_rungs_are_climbed_in_order(name: str, seed: int, play: Play) -> None:
    # All of hyperband's brackets have 69 trials.
    story = Story(names=(name,), trials=60, parallel=3 if seed % 2 else 8)
    outcome = play(seed, story)
    check_outcome(outcome)
    trials = trials_of(outcome)
    rungs = Counter(rung(trial) for trial in trials)
    assert rungs[0] > rungs[1] > 0
    for trial in trials:
        x, epochs = (it.value for it in trial.assignments)
        start = 0 if name == "asha" else 3 - bracket(trial)
        assert epochs == RESOURCES[start + rung(trial)]
        if trial.parent is None:
            assert rung(trial) == 0
            continue
        parent = trials[trial.parent]
        assert parent.assignments[0].value == x
        assert (bracket(parent), rung(parent)) == (bracket(trial), rung(trial) - 1)
    # Nobody is promoted twice.
    parents = Counter(trial.parent for trial in trials if trial.parent is not None)
    assert set(parents.values()) == {1}
    check_answers(outcome, trials)


def check_answers(outcome: Outcome, trials: list[Trial]) -> None:
    """Each is what a fresh instance answers that was told the same past, in another order."""
    [state] = outcome.experiments
    study = Study(
        parameters=state.spec.parameters,
        objective=state.spec.objective.type,
        algorithm=state.spec.algorithm,
        seed=state.seed,
    )
    documents = outcome.world.store.documents("answers")
    past: list[Answer] = []
    for answer in sorted(map(ANSWER.decode, documents), key=lambda it: it.number):
        fresh = Registry().create(study)
        for it in past:
            fresh.restore(it.points, it.marks)
        seen = [trial for trial in trials if (trial.finished or 0) <= answer.watermark]
        Random(answer.number).shuffle(seen)
        fresh.tell([told(trial) for trial in seen])
        request = ProposalRequest(
            number=answer.number,
            first=answer.first,
            count=len(answer.points),
            watermark=answer.watermark,
            seed=answer.seed,
        )
        proposal = fresh.propose(request, Random(answer.seed))
        assert (proposal.points, proposal.marks) == (answer.points, answer.marks)
        past.append(answer)


def trials_of(outcome: Outcome) -> list[Trial]:
    documents = outcome.world.store.documents("trials")
    return sorted((TRIAL.decode(it) for it in documents), key=lambda it: it.index)


def rung(trial: Trial) -> int:
    return int(dict(trial.labels)["trialbus.io/rung"])


def bracket(trial: Trial) -> int:
    return int(dict(trial.labels)["trialbus.io/bracket"])


def told(trial: Trial) -> FinishedTrial:
    return FinishedTrial(
        number=trial.finished or 0,
        index=trial.index,
        point=tuple(it.value for it in trial.assignments),
        phase=trial.phase,
        value=trial.value,
    )
