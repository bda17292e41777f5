"""Laws 6 to 10 of the architecture: each holds, and is seen broken without its mechanism."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.envelope import decode_event
from trialbus.ports.store import Document, Outcome, Query
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.outbox import Outbox
from trialbus.testkit.law_probes import (
    InSteadyState,
    Play,
    broken_within,
    echo,
    experiments_of,
)
from trialbus.testkit.memory_bus import Fate
from trialbus.testkit.memory_store import MemoryClient
from trialbus.testkit.scenario import FAIR, Machine, Story
from trialbus.testkit.virtual_time import Stalled
from trialbus.testkit.world import Weather, World
from trialbus_early_stopping.core.evidence import Report, TrialEvidence
from trialbus_experiment.app.views import Views
from trialbus_experiment.core import decide as deciding
from trialbus_experiment.core import outcomes
from trialbus_metrics_collector.app.chains import Chains
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.core import random_search

# 6: evidence is keyed --------------------------------------------------------------------------

REPORTS = [Report(1, 5.0), Report(2, 4.0), Report(3, 3.0)]
SHUFFLED = [REPORTS[2], REPORTS[0], REPORTS[2], REPORTS[1], REPORTS[0]]


def evidence_of(*batches: Sequence[Report]) -> tuple[float, ...]:
    evidence = TrialEvidence(trial="t", attempt=1)
    for batch in batches:
        evidence = evidence.with_reports(batch)
    return evidence.values


def test_law_6_repeats_and_order_change_no_evidence() -> None:
    assert evidence_of(REPORTS) == (5.0, 4.0, 3.0)
    assert evidence_of(SHUFFLED) == (5.0, 4.0, 3.0)
    assert evidence_of(REPORTS[1:], REPORTS, REPORTS[:1]) == (5.0, 4.0, 3.0)


def test_law_6_is_broken_where_evidence_is_appended(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(self: TrialEvidence, reports: Sequence[Report]) -> TrialEvidence:
        return replace(self, values=(*self.values, *(it.value for it in reports)))

    monkeypatch.setattr(TrialEvidence, "with_reports", append)
    assert evidence_of(SHUFFLED) != (5.0, 4.0, 3.0)


def test_law_6_stored_evidence_is_what_the_run_printed(play: Play) -> None:
    judged = 0
    for seed in range(3):
        outcome = play(seed, replace(Story(), names=("stopped",), operated=False))
        for document in outcome.world.store.documents("evidence"):
            lines = outcome.outputs[document["_id"]].splitlines()
            printed = [float(line.split(b"loss=")[1]) for line in lines if b"loss=" in line]
            values = document["values"]
            assert list(map(repr, values)) == list(map(repr, printed[: len(values)]))
            judged += document["verdict"] is not None
    assert judged > 0


# 7: same request, same answer ------------------------------------------------------------------


def told_before_stored(play: Play, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers that were spoken of before the store had them."""
    early: list[str] = []
    fate = World.fate

    def listen(world: World) -> Fate:
        message = world.published[-1] if world.published else None
        if message is not None and message.headers["ce-type"].endswith("suggestion.proposed.v1"):
            event = decode_event(message)
            key = f"{event.uid}:{event.data['number']}"
            if key not in {it["_id"] for it in world.store.documents("answers")}:
                early.append(key)
        return fate(world)

    monkeypatch.setattr(World, "fate", listen)
    play(1, replace(FAIR, names=("plain",), trials=8))
    return early


def test_law_7_an_answer_is_stored_before_it_is_told(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told_before_stored(play, monkeypatch) == []


def test_law_7_is_broken_where_it_is_told_first(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Answering._store

    async def tell_first(self: Answering, answers: Any) -> None:
        await self._tell([], answers)
        await store(self, answers)

    monkeypatch.setattr(Answering, "_store", tell_first)
    assert told_before_stored(play, monkeypatch) != []


def points_of(play: Play, story: Story) -> list[list[list[str]]]:
    return [it["points"] for it in play(5, story).world.store.documents("answers")]


# One trial and one request: what is asked for does not depend on when.
ALONE = replace(FAIR, names=("plain",), trials=1, parallel=1)
SLOW_BUS = replace(ALONE, weather=Weather(late=1.0, late_s=2.0))


def test_law_7_the_same_request_has_the_same_answer_whenever_it_is_drawn(play: Play) -> None:
    assert points_of(play, ALONE) == points_of(play, SLOW_BUS)


def test_law_7_is_broken_with_seeds_from_the_clock(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_the_clock(_seed: int, _number: int) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)

    monkeypatch.setattr(random_search, "point_seed", from_the_clock)
    assert points_of(play, ALONE) != points_of(play, SLOW_BUS)


# 8: no silent stall ----------------------------------------------------------------------------


async def reasons_later(world: World, _: list[Machine]) -> set[str]:
    """What the conditions say two minutes later."""
    await world.clock.sleep(120.0)
    return {it.reason for state in experiments_of(world) for it in state.conditions}


@pytest.mark.parametrize(
    ("service", "reason"),
    [("trial_launcher", "LaunchStalled"), ("suggestion", "SuggestionStalled")],
)
def test_law_8_a_service_that_is_away_is_said(
    service: str, reason: str, in_steady_state: InSteadyState
) -> None:
    assert reason in in_steady_state(reasons_later, without=service)
    assert reason not in in_steady_state(reasons_later)


@pytest.mark.parametrize("service", ["trial_launcher", "suggestion"])
def test_law_8_is_broken_where_nothing_says_so(
    service: str, in_steady_state: InSteadyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "show_stalls", lambda *_: None)
    said = in_steady_state(reasons_later, without=service)
    assert said <= {"ExperimentCreated", "ExperimentRunning"}


UNHEARD = replace(FAIR, names=("plain",), trials=4, program=echo, limit_s=200.0)


def test_law_8_metrics_that_are_never_stored_end_a_trial_with_the_reason(play: Play) -> None:
    outcome = play(0, UNHEARD, without="metrics_collector")
    ends = {(it["phase"], it["message"]) for it in outcome.world.store.documents("trials")}
    message = "Metrics are not available: its metrics were not stored within 60 s"
    assert ends == {("MetricsUnavailable", message)}


def test_law_8_is_broken_without_the_deadline_of_observations(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "OBSERVATION_DEADLINE_S", math.inf)
    with pytest.raises(Stalled):
        play(0, UNHEARD, without="metrics_collector")


# 9: nothing is lost on the way out -------------------------------------------------------------

ROUGH = replace(
    Story(),
    names=("plain",),
    weather=Weather(drop=0.2, late=0.2, unconfirmed=0.1),
    operated=False,
    twins=False,
    limit_s=400.0,
)


def test_law_9_nothing_is_lost_in_rough_weather(play: Play) -> None:
    assert broken_within(play, ROUGH, 4) is None


def test_law_9_is_broken_without_the_sweep(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: HintLoop) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(HintLoop, "_sweep", never)
    assert "virtual seconds" in (broken_within(play, ROUGH, 6) or "")


def test_law_9_is_broken_where_a_crash_loses_the_outbox(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(Outbox, "sweep", nothing)
    violation = broken_within(play, replace(ROUGH, weather=Weather()), 20)
    assert violation is not None


def test_law_9_is_broken_where_chunks_are_answered_before_they_are_stored(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Chains._commit

    async def later(self: Chains, growths: Any) -> tuple[dict[str, Outcome], dict[str, str]]:
        asyncio.get_running_loop().call_later(
            0.5, lambda: asyncio.ensure_future(commit(self, growths))
        )
        return dict.fromkeys(growths, Outcome.DONE), {}

    monkeypatch.setattr(Chains, "_commit", later)
    assert broken_within(play, ROUGH, 12) is not None


def test_law_9_is_broken_where_trials_end_without_their_metrics(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "OBSERVATION_DEADLINE_S", 0.0)
    without_collector = play(0, UNHEARD, without="metrics_collector").experiments[0]
    assert without_collector.completed_at is not None
    assert without_collector.counts.metrics_unavailable == 4


# 10: work per event does not grow with the experiment -------------------------------------------


class Reads:
    """Counts what the services read. largest: documents of one call; documents: of all calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.documents: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()
        self.experiment_bytes = 0
        find, get_many = MemoryClient.find, MemoryClient.get_many

        async def counted_find(
            client: MemoryClient, collection: str, query: Query
        ) -> list[Document]:
            found = await find(client, collection, query)
            self._note(collection, found)
            return found

        async def counted_get(
            client: MemoryClient, collection: str, ids: Any, **options: Any
        ) -> dict[str, Document]:
            found = await get_many(client, collection, ids, **options)
            self._note(collection, list(found.values()))
            return found

        monkeypatch.setattr(MemoryClient, "find", counted_find)
        monkeypatch.setattr(MemoryClient, "get_many", counted_get)

    def _note(self, collection: str, found: list[Document]) -> None:
        self.documents[collection] += len(found)
        self.largest[collection] = max(self.largest[collection], len(found))
        if collection == "experiments":
            self.experiment_bytes = max([self.experiment_bytes, *(len(str(it)) for it in found)])


def cost_of(
    play: Play, monkeypatch: pytest.MonkeyPatch, trials: int
) -> tuple[dict[str, float], dict[str, int], int]:
    """Documents read per trial, at most in one call, and the experiment's largest size."""
    with monkeypatch.context() as patches:
        reads = Reads(patches)
        play(2, replace(FAIR, names=("stopped",), trials=trials, program=echo))
    per_trial = {name: count / trials for name, count in reads.documents.items()}
    return per_trial, dict(reads.largest), reads.experiment_bytes


def grows(play: Play, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What costs more with 400 trials than with 50."""
    few, few_at_once, few_bytes = cost_of(play, monkeypatch, 50)
    many, many_at_once, many_bytes = cost_of(play, monkeypatch, 400)
    growing = [name for name in many if many[name] > 1.2 * few[name] + 0.5]
    growing += [name for name in many if many_at_once[name] > few_at_once[name] + 8]
    return growing + (["bytes"] if many_bytes > 1.3 * few_bytes else [])


def test_law_10_work_does_not_grow_with_the_experiment(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grows(play, monkeypatch) == []


def test_law_10_is_broken_where_a_handler_reads_all_trials(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = Views.observe

    async def read_all(self: Views, states: Any, settled: Any, now: float) -> Any:
        for state in states:
            await self._store.find("trials", Query(equals={"uid": state.id}))
        return await observe(self, states, settled, now)

    monkeypatch.setattr(Views, "observe", read_all)
    assert "trials" in grows(play, monkeypatch)
