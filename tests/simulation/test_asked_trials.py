"""Trials that workers ask for, under any faults: none lost, none doubled, the budget exact."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.documents import CHUNK, RUN, TRIAL
from trialbus.contracts.envelope import decode_event
from trialbus.kernel.events import EVENT_TYPES
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.testkit import outcome_checks
from trialbus.testkit.asked_workers import Crew
from trialbus.testkit.law_probes import Play
from trialbus.testkit.memory_launcher import most_at_once
from trialbus.testkit.scenario import FAIR, Outcome, Story
from trialbus.testkit.virtual_time import Stalled
from trialbus_trial_launcher.app.leasing import telling
from trialbus_trial_launcher.app.leasing.ending import Ending
from trialbus_trial_launcher.app.leasing.word import Word, unanswered

SEEDS = range(max(8, int(os.environ.get("TRIALBUS_SEEDS", "0")) // 4))
ASKED = Story(names=("plain", "stopped"), workers=3, operated=False, machines=2)
# The architecture's figures, per asked trial.
WRITES = 4
WAKE_UPS = 1


@pytest.mark.parametrize("seed", SEEDS)
def test_asked_trials_are_neither_lost_nor_doubled(seed: int, play: Play) -> None:
    check(play(seed, ASKED))


def test_a_suspended_experiment_goes_on_with_the_next_attempts(play: Play) -> None:
    check(play(2, replace(ASKED, operated=True)))


def check(outcome: Outcome) -> None:
    trials = [TRIAL.decode(it) for it in outcome.world.store.documents("trials")]
    runs = [RUN.decode(it) for it in outcome.world.store.documents("runs")]
    for state in outcome.experiments:
        own = [trial for trial in trials if trial.uid == state.id]
        where = f"seed {outcome.seed}, {state.name}"
        assert state.counts.closed == outcome.story.trials == len(own), where
        check_results(outcome.crews[state.name], own, where)
        check_attempts(state, [run for run in runs if run.uid == state.id], outcome, where)
        check_points(outcome, outcome.crews[state.name], own, where)
    outcome_checks.check_events(outcome, outcome.world.store.documents("trials"))
    outcome_checks.check_tidiness(outcome)


def check_results(crew: Crew, trials: list[Trial], where: str) -> None:
    """Each trial has the result that one of its attempts told, and none that was refused."""
    for trial in trials:
        told = crew.told.get(trial.name, [])
        assert len({attempt for attempt, _ in told}) <= 1, (where, trial.name, told)
        if trial.phase is TrialPhase.SUCCEEDED:
            # What its worker did not hear it repeated; that it was accepted is known to it.
            assert told and told[0][0] == trial.attempt, (where, trial.name, told)
            points = crew.points.get((trial.name, trial.attempt), [])
            assert trial.value == min([*points, told[0][1]]), (where, trial.name)
        else:
            assert not told, (where, trial.name, trial.phase, told)


def check_attempts(state: Experiment, runs: list[Run], outcome: Outcome, where: str) -> None:
    """Every attempt was one worker's; never more of them at once than were allowed."""
    crew = outcome.crews[state.name]
    assert set(crew.given.values()) == {1}, where
    lives = [(run.started_at, run.finished_at) for run in runs if run.started_at is not None]
    allowed = 6 if outcome.story.operated else outcome.story.parallel
    assert most_at_once(lives) <= allowed, where
    assert all(run.ended and run.lease_until is None for run in runs), where
    lost = [run for run in runs if run.phase is RunPhase.LOST]
    assert len(runs) >= len(lost) + outcome.story.trials, where


def check_points(outcome: Outcome, crew: Crew, trials: list[Trial], where: str) -> None:
    """What was accepted of an ended trial is stored, once and in order."""
    chunks = [CHUNK.decode(it) for it in outcome.world.store.documents("chunks")]
    for trial in trials:
        run = f"{trial.id}.{trial.attempt}"
        stored = [
            value
            for chunk in sorted(chunks, key=lambda it: it.id)
            if chunk.run == run
            for series in chunk.series
            for value in series.values
        ]
        accepted = crew.points.get((trial.name, trial.attempt), [])
        if trial.phase is TrialPhase.SUCCEEDED and accepted:
            told = [crew.told[trial.name][0][1]]
            assert stored == [*accepted, *told], (where, trial.name)
        elif trial.phase is TrialPhase.SUCCEEDED:
            assert not stored, (where, trial.name)
        else:
            assert stored[: len(accepted)] == accepted, (where, trial.name)


# What it costs ---------------------------------------------------------------------------------

CHEAP = replace(FAIR, names=("plain",), workers=2, quiet=True, trials=200, parallel=16)


def test_an_asked_trial_costs_few_writes_and_one_wake_up(play: Play) -> None:
    outcome = play(0, CHEAP)
    [state] = outcome.experiments
    assert state.counts.succeeded == CHEAP.trials
    writes = outcome.world.store.writes
    per_trial = {" ".join(key): count / CHEAP.trials for key, count in sorted(writes.items())}
    assert sum(writes.values()) <= WRITES * CHEAP.trials, per_trial
    types = Counter(decode_event(message).type for message in outcome.world.published)
    heard = {it: count for it, count in types.items() if EVENT_TYPES[it].consumers}
    assert sum(heard.values()) <= WAKE_UPS * CHEAP.trials, heard


# Each mechanism is missed when it is taken away --------------------------------------------------


def broken(play: Play, story: Story = ASKED, seeds: int = 12) -> str | None:
    """How the first of so many seeds breaks it; None: all keep it."""
    for seed in range(seeds):
        try:
            check(play(seed, story))
        except (AssertionError, Stalled) as violation:
            return str(violation) or "broken"
    return None


def test_it_is_broken_where_late_words_count(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has lost the trial is believed: it is not asked again, and its result goes nowhere."""

    def believe(words: Sequence[Word[Any]], runs: Mapping[str, Run]) -> None:
        for word in unanswered(words):
            run = runs.get(word.run_id)
            if run is not None and run.ended:
                word.accept()

    monkeypatch.setattr(telling, "refuse_not_held", believe)
    assert broken(play) is not None


def test_it_is_broken_where_leases_never_end(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Ending) -> None:
        return None

    monkeypatch.setattr(Ending, "_expire_due", never)
    assert broken(play, replace(ASKED, limit_s=600.0), seeds=3) is not None


def test_it_is_broken_where_a_repeated_result_is_refused(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that did not get its answer believes that its result was lost."""
    monkeypatch.setattr(telling, "_told_before", lambda _word, _run: False)
    assert broken(play) is not None


def test_it_is_broken_where_metrics_are_taken_from_the_result_alone(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(_: Ending, _runs: object) -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr(Ending, "reported", none)
    assert broken(play) is not None
