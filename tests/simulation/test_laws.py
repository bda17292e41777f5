"""Laws 1 to 5 of the architecture: each holds, and is seen broken when its mechanism is taken away.

Where a law holds by several mechanisms, each is taken away in turn.
"""

import ast
import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport, ReportedSeries
from trialbus.contracts.documents import EXPERIMENT, RUN
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import Run
from trialbus.ports.launcher import RunPlan
from trialbus.ports.store import Outcome, Write
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    lost,
    objective,
    run,
    spec,
    summary,
    with_open,
)
from trialbus.testkit.law_probes import STEADY, InSteadyState, Play, broken_within, experiments_of
from trialbus.testkit.memory_bus import Fate
from trialbus.testkit.memory_collection import MemoryCollection
from trialbus.testkit.scenario import NAMESPACE, Machine, Story, post_all
from trialbus.testkit.world import World
from trialbus_experiment.core import decide as deciding
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.observed import Observed, SeenObservation
from trialbus_trial_launcher.app.launching import Launching

# 1: a repeat commits nothing ---------------------------------------------------------------------


async def commits_of_repeats(world: World, _: list[Machine]) -> Counter[tuple[str, str]]:
    """What is written when every message and command comes again, under new message ids too."""
    before = Counter(world.store.writes)
    for message in list(world.published):
        world.bus.accept(replace(message, id=f"{message.id} again"), Fate())
    await post_all(world, 0, STEADY)
    await world.clock.sleep(10.0)
    return Counter(world.store.writes) - before


def test_law_1_a_repeat_commits_nothing(in_steady_state: InSteadyState) -> None:
    assert not in_steady_state(commits_of_repeats)


def test_law_1_is_broken_where_a_decision_without_change_counts_as_one(
    in_steady_state: InSteadyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze = Draft.freeze

    def always_new(draft: Draft) -> Decision:
        decision = freeze(draft)
        if decision.state is draft.before:
            return replace(decision, state=replace(draft.before, version=draft.before.version + 1))
        return decision

    monkeypatch.setattr(Draft, "freeze", always_new)
    assert in_steady_state(commits_of_repeats)["experiments", "replace"] > 0


def test_law_1_is_broken_where_commands_are_not_remembered(
    in_steady_state: InSteadyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus_experiment.app.commanding.uid_made_by", _another_uid())
    assert in_steady_state(commits_of_repeats)["experiments", "replace"] > 0


def _another_uid() -> Callable[[str], str]:
    made = Counter[str]()

    def uid(command: str) -> str:
        made[command] += 1
        return f"00000000-0000-4000-8000-{made[command]:04}{abs(hash(command)) % 10**8:08}"

    return uid


# 2: deciding is pure ---------------------------------------------------------------------------

# What a core or the kernel may never know of.
_IO = frozenset({"asyncio", "io", "os", "pathlib", "socket", "subprocess", "tempfile", "threading"})
_CHANCE = frozenset({"datetime", "secrets", "time", "uuid"})
IMPURE = _IO | _CHANCE | {"logging", "structlog"}
SERVICES = ("experiment", "suggestion", "trial_launcher", "metrics_collector", "early_stopping")


def impurities(source: str) -> list[str]:
    """Imports of I/O, time, randomness and logging; `Random` as a type is passed in."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [it.name for it in names if it.name.split(".")[0] in {*IMPURE, "random"}]
            case ast.ImportFrom(module=str(module), names=names):
                whole = module.split(".")[0] in IMPURE
                drawn = module == "random" and {it.name for it in names} != {"Random"}
                found += [module] if whole or drawn else []
            case ast.AsyncFunctionDef(name=name):
                found.append(f"async {name}")
    return found


def test_law_2_nothing_that_decides_knows_the_world() -> None:
    modules = [module for service in SERVICES for module in _modules_of(f"trialbus_{service}.core")]
    assert len(modules) > 20
    assert not {path.name: found for path in modules if (found := impurities(path.read_text()))}


def _modules_of(package: str) -> list[Path]:
    [folder] = importlib.import_module(package).__path__
    return sorted(Path(folder).glob("*.py"))


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from datetime import datetime",
        "import random",
        "from random import random",
        "import os.path",
        "def f():\n    import logging",
        "async def decide(): ...",
    ],
)
def test_law_2_is_broken_by_a_look_at_the_world(source: str) -> None:
    assert impurities(source)


def test_law_2_the_same_input_gives_the_same_decision() -> None:
    state = with_open(0, 1, spec_=spec(objective=objective(goal=0.1)))
    seen = Observed(
        runs={0: run(0), 1: lost(1)},
        observations={0: SeenObservation(metrics=summary(0.5))},
        answers={1: answer()},
    )
    assert decide(state, seen, NOW) == decide(state, seen, NOW)


# 3: terminal states absorb ---------------------------------------------------------------------


def written_after_the_end() -> set[ExperimentPhase]:
    """Terminal phases that change by what comes late."""
    late = Observed(runs={0: run(0), 1: lost(1)}, answers={1: answer()}, settled=frozenset({0}))
    terminal = (ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED, ExperimentPhase.DELETED)
    before = {phase: with_open(0, 1, phase=phase) for phase in terminal}
    return {phase for phase, state in before.items() if decide(state, late, NOW).state is not state}


def test_law_3_terminal_states_absorb() -> None:
    assert written_after_the_end() == set()


def test_law_3_is_broken_where_nothing_counts_as_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Experiment, "ended", property(lambda _: False))
    assert written_after_the_end() == {ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED}


def test_law_3_nothing_that_has_ended_is_written_again(play: Play) -> None:
    """One look back at every document: how often it was written."""
    outcome = play(3)
    trials = outcome.world.store.documents("trials")
    assert {it["version"] for it in trials} == {2}
    runs = outcome.world.store.documents("runs")
    assert {it["version"] for it in runs} <= {1, 2}


# 4: fencing --------------------------------------------------------------------------------------


async def late_words(world: World, machines: list[Machine]) -> tuple[ChunkReply, int]:
    """An attempt is lost and retried; then the first one speaks up."""
    state = experiments_of(world)[0]
    first = run_id(state.id, 0, 1)
    machines[0].place.lose(first)
    await world.clock.sleep(5.0)
    assert experiments_of(world)[0].open["0"].attempt == 2
    points = (ReportedSeries(metric="loss", values=(0.1,), times=(1.0,)),)
    report = ChunkReport(run=first, from_byte=0, to_byte=9, series=points)
    answer = await world.command(subjects.metric(NAMESPACE, state.name, "t"), report.to_bytes())
    stored = [it for it in world.store.documents("chunks") if it["run"] == first]
    return ChunkReply.from_bytes(answer), len(stored)


def test_law_4_words_of_an_older_attempt_are_refused(in_steady_state: InSteadyState) -> None:
    reply, stored = in_steady_state(late_words)
    assert reply.refused == "trial 0 is at attempt 2, not 1"
    assert stored == 0


def test_law_4_is_broken_without_the_fence(
    in_steady_state: InSteadyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus_metrics_collector.app.collecting.refusal", lambda *_: None)
    reply, stored = in_steady_state(late_words)
    assert (reply.refused, stored) == (None, 1)


def test_law_4_is_broken_where_older_ends_are_heard(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run is read as if it were of the attempt that is open."""
    judge = deciding._follow

    def follow(draft: Draft, index: int, observed: Any) -> None:
        first = {
            key: replace(it, attempt=draft.open[key].attempt)
            for key, it in observed.runs.items()
            if key in draft.open
        }
        judge(draft, index, replace(observed, runs={**observed.runs, **first}))

    monkeypatch.setattr(deciding, "_follow", follow)
    monkeypatch.setattr("trialbus_experiment.app.views.run_id", lambda u, i, _: run_id(u, i, 1))
    assert broken_within(play, replace(Story(), limit_s=45.0), 6) is not None


# 5: exact budgets --------------------------------------------------------------------------------

# A slow store makes replicas decide on what others change meanwhile.
CROWD = Story(
    replicas=("experiment/2", "experiment/3"),
    machines=2,
    faults=4,
    operated=False,
    latency_s=0.1,
)


def test_law_5_budgets_are_exact_with_many_replicas_and_machines(play: Play) -> None:
    assert broken_within(play, CROWD, 4) is None


def test_law_5_is_broken_where_commits_ignore_versions(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = MemoryCollection.apply

    def overwrite(self: MemoryCollection, write: Write) -> Outcome:
        there = self.get(write.id)
        if write.base is None or there is None:
            return apply(self, write)
        return apply(
            self,
            Write(
                base={**write.base, "version": there["version"]},
                document={**write.document, "version": there["version"] + 1},
            ),
        )

    monkeypatch.setattr(MemoryCollection, "apply", overwrite)
    assert broken_within(play, replace(CROWD, limit_s=600.0), 12) is not None


def test_law_5_is_broken_where_runs_are_started_without_a_claim(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Launching._start

    async def all_are_mine(
        self: Launching,
        _: Sequence[tuple[Experiment, Run]],
        plans: Mapping[str, Sequence[RunPlan]],
    ) -> None:
        documents = await self._parts.store.get_many(
            "experiments", [it.split(".")[0] for it in plans]
        )
        by_uid = {uid: EXPERIMENT.decode(it) for uid, it in documents.items()}
        runs = await self._parts.store.get_many("runs", list(plans))
        mine = [(by_uid[it["uid"]], _run_of(it)) for it in runs.values()]
        await start(self, mine, plans)

    monkeypatch.setattr(Launching, "_start", all_are_mine)
    assert broken_within(play, replace(CROWD, limit_s=600.0), 12) is not None


def _run_of(document: Mapping[str, Any]) -> Run:
    return RUN.decode(document)
