"""Population based training under crashes and lost messages: lineage, checkpoints, decisions."""

from collections.abc import Iterator
from random import Random

import pytest

from trialbus.contracts.documents import ANSWER, TRIAL
from trialbus.kernel.checkpoints import CHECKPOINT_VARIABLE, PARENT_VARIABLE
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.lineage import GENERATION_LABEL
from trialbus.kernel.proposals import FinishedTrial, ProposalRequest, Study
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import RunPlan
from trialbus.testkit.law_probes import Play
from trialbus.testkit.memory_launcher import Script
from trialbus.testkit.outcome_checks import check_outcome
from trialbus.testkit.run_scripts import script_of
from trialbus.testkit.scenario import Outcome, Story
from trialbus_suggestion.core.pbt import PopulationBasedTraining

Chain = tuple[str, ...]


class Checkpoints:
    """What runs leave: the checkpoints that theirs was made of, from the first on."""

    def __init__(self) -> None:
        self.kept: dict[str, Chain] = {}

    def program(self, seed: int, run_id: str, plan: RunPlan) -> Script:
        own, parent = plan.env[CHECKPOINT_VARIABLE], plan.env[PARENT_VARIABLE]
        before = self.kept[parent] if parent else ()
        self.kept[own] = (*before, own.rpartition("/")[2])
        return script_of(seed, run_id, plan)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_each_trial_has_its_parents_checkpoint(seed: int, play: Play) -> None:
    checkpoints = Checkpoints()
    # More places than members: it waits all the time.
    parallel = 4 if seed % 2 else 7
    names = ("population",)
    story = Story(names=names, trials=30, parallel=parallel, program=checkpoints.program)
    outcome = play(seed, story)
    check_outcome(outcome)
    [state] = outcome.experiments
    trials = trials_of(outcome)
    for trial in trials:
        lineage = [str(it.index) for it in chain(trials, trial)]
        [kept] = [it for own, it in checkpoints.kept.items() if own.endswith(f"/{trial.index}")]
        assert [*kept] == lineage[::-1]
        generation = int(dict(trial.labels)[GENERATION_LABEL])
        assert generation == len(lineage) - 1
    assert max(len(kept) for kept in checkpoints.kept.values()) >= 3
    check_answers(outcome, state, trials)


def trials_of(outcome: Outcome) -> list[Trial]:
    documents = outcome.world.store.documents("trials")
    return sorted((TRIAL.decode(it) for it in documents), key=lambda it: it.index)


def chain(trials: list[Trial], trial: Trial) -> Iterator[Trial]:
    """The trial, its parent, and so on."""
    yield trial
    while trial.parent is not None:
        trial = trials[trial.parent]
        yield trial


def check_answers(outcome: Outcome, state: Experiment, trials: list[Trial]) -> None:
    """Each is what a fresh instance answers that was told the same past, whatever was restarted
    and remembered meanwhile; parents had ended by then."""
    documents = outcome.world.store.documents("answers")
    answers = sorted((ANSWER.decode(it) for it in documents), key=lambda it: it.number)
    study = Study(
        parameters=state.spec.parameters,
        objective=state.spec.objective.type,
        algorithm=state.spec.algorithm,
        seed=state.seed,
    )
    past: list[Answer] = []
    for answer in answers:
        fresh = PopulationBasedTraining(study)
        for it in past:
            fresh.restore(it.points, it.marks)
        seen = [trial for trial in trials if (trial.finished or 0) <= answer.watermark]
        Random(answer.number).shuffle(seen)
        fresh.tell([finished(trial) for trial in seen])
        request = ProposalRequest(
            number=answer.number,
            first=answer.first,
            count=len(answer.points),
            watermark=answer.watermark,
            seed=answer.seed,
        )
        proposal = fresh.propose(request, Random(answer.seed))
        assert (proposal.points, proposal.marks) == (answer.points, answer.marks)
        assert {mark.parent for mark in answer.marks} <= {None, *(it.index for it in seen)}
        past.append(answer)


def finished(trial: Trial) -> FinishedTrial:
    return FinishedTrial(
        number=trial.finished or 0,
        index=trial.index,
        point=tuple(it.value for it in trial.assignments),
        phase=trial.phase,
        value=trial.value,
    )
