"""What a gateway remembers of ended trials, over all experiments that it was asked for."""

from trialbus.contracts.collections import COLLECTIONS, TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Write
from trialbus.testkit.gateway_documents import experiment
from trialbus.testkit.gateway_world import trial_of
from trialbus.testkit.memory_store import MemoryStore
from trialbus_gateway.app.trial_histories import (
    TRIALS_PER_EXPERIMENT,
    ReadBudget,
    TrialHistories,
)


async def stored(store: MemoryStore, number: int, ended: int) -> Experiment:
    """One more experiment, with as many ended trials."""
    uid, name = f"uid-{number}", f"tune-{number}"
    state = experiment(id=uid, name=name, alive_name=f"lab/{name}", finished=ended)
    trials = [
        trial_of(
            state,
            index,
            phase=TrialPhase.SUCCEEDED,
            finished=index + 1,
            value=1.0,
            completed_at=200.0 + index,
        )
        for index in range(ended)
    ]
    writes = [Write(base=None, document=TRIAL.encode(it)) for it in trials]
    await store.client("tests").commit(TRIALS.name, writes)
    return state


async def prepared() -> MemoryStore:
    store = MemoryStore()
    await store.client("tests").prepare(COLLECTIONS)
    return store


def reads(store: MemoryStore) -> int:
    return store.calls[(TRIALS.name, "find")]


async def test_the_experiments_asked_for_last_are_remembered() -> None:
    store = await prepared()
    states = [await stored(store, number, ended=10) for number in range(3)]
    both = 2 * (10 + TRIALS_PER_EXPERIMENT)
    histories = TrialHistories(store.client("gateway"), most=both)
    for state in (states[0], states[1], states[0], states[2]):
        assert (await histories.of(state, ReadBudget())).finished == 10
    before = reads(store)
    await histories.of(states[0], ReadBudget())
    await histories.of(states[2], ReadBudget())
    assert reads(store) == before
    await histories.of(states[1], ReadBudget())
    assert reads(store) > before


async def test_experiments_without_ended_trials_are_forgotten_too() -> None:
    store = await prepared()
    first = await stored(store, 0, ended=1)
    histories = TrialHistories(store.client("gateway"), most=10 * TRIALS_PER_EXPERIMENT)
    await histories.of(first, ReadBudget())
    for number in range(1, 11):
        await histories.of(await stored(store, number, ended=0), ReadBudget())
    before = reads(store)
    await histories.of(first, ReadBudget())
    assert reads(store) > before


async def test_an_answer_is_not_changed_by_what_is_read_for_the_next_one() -> None:
    store = await prepared()
    state = await stored(store, 0, ended=5)
    histories = TrialHistories(store.client("gateway"))
    first = await histories.of(state, ReadBudget(left=2))
    second = await histories.of(state, ReadBudget())
    assert (first.finished, second.finished) == (2, 5)
    assert list(first.ended(TrialPhase.SUCCEEDED).times) == [200.0, 201.0]
    assert len(second.ended(TrialPhase.SUCCEEDED).times) == 5
