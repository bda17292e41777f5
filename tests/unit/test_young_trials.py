"""A trial that was just given to a worker is found although its document is not written yet."""

import pytest

from trialbus.contracts.collections import ANSWERS, EXPERIMENTS, TRIALS
from trialbus.contracts.documents import ANSWER, EXPERIMENT, TRIAL
from trialbus.kernel.experiment import (
    ClosingTrial,
    Experiment,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.ids import answer_id, trial_name
from trialbus.kernel.opened_trials import opened
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer, LookAhead
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Write
from trialbus.testkit.experiment_states import experiment, spec
from trialbus.testkit.memory_store import MemoryClient, MemoryStore
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.young_trials import YoungTrials

UID = "11111111-1111-4111-8111-111111111111"
OPEN = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=5.0)
CLOSING = ClosingTrial(
    attempt=1,
    request=1,
    phase=TrialPhase.SUCCEEDED,
    finished=1,
    reason="",
    message="",
    closed_at=7.0,
    opened_at=6.0,
)
STATE = experiment(
    spec(trials_by=TrialsBy.WORKERS), id=UID, open={"1": OPEN}, closing={"0": CLOSING}
)
POINTS = Answer(
    id=answer_id(UID, 1),
    uid=UID,
    version=1,
    number=1,
    first=0,
    watermark=0,
    seed=1,
    points=(("0.25",), ("0.75",), ("0.5",)),
    exhausted=False,
    look_ahead=LookAhead.FREE,
    refused=None,
    answered_at=0.0,
    took_s=0.0,
)


@pytest.fixture
def store() -> MemoryClient:
    return MemoryStore().client("test")


@pytest.fixture
async def young(store: MemoryClient) -> YoungTrials:
    await store.prepare([EXPERIMENTS, TRIALS, ANSWERS])
    await put(store, STATE)
    await store.commit(ANSWERS.name, [Write(base=None, document=ANSWER.encode(POINTS))])
    return YoungTrials(store, Documents(store))


async def put(store: MemoryClient, state: Experiment) -> None:
    await store.commit(EXPERIMENTS.name, [Write(base=None, document=EXPERIMENT.encode(state))])


def name_of(index: int) -> str:
    return trial_name(STATE.name, UID, index)


@pytest.mark.parametrize(("index", "value", "at"), [(0, "0.25", 6.0), (1, "0.75", 5.0)])
async def test_it_is_found_with_its_point(
    young: YoungTrials, index: int, value: str, at: float
) -> None:
    trial = await young.trial(name_of(index))
    assert (trial.id, trial.name, trial.phase) == (
        f"{UID}.{index}",
        name_of(index),
        TrialPhase.CREATED,
    )
    assert [it.value for it in trial.assignments] == [value]
    assert trial.created_at == at


async def test_its_document_counts_when_it_is_there(
    young: YoungTrials, store: MemoryClient
) -> None:
    whole = opened(STATE, 1, OPEN, POINTS)
    document = {**TRIAL.encode(whole), "message": "from the store"}
    await store.commit(TRIALS.name, [Write(base=None, document=document)])
    assert (await young.trial(name_of(1))).message == "from the store"


@pytest.mark.parametrize("name", [name_of(2), f"{STATE.name}-nothing", "nobody-bcdfghjk", "nobody"])
async def test_what_was_not_opened_is_not_there(young: YoungTrials, name: str) -> None:
    with pytest.raises(NotThere):
        await young.trial(name)


async def test_a_name_that_is_none_is_told(young: YoungTrials) -> None:
    with pytest.raises(Unreadable):
        await young.trial("No Name")


async def test_a_deleted_namesake_hides_nothing(young: YoungTrials, store: MemoryClient) -> None:
    other = "22222222-2222-4222-8222-222222222222"
    await put(store, experiment(STATE.spec, id=other, phase=ExperimentPhase.DELETED))
    assert (await young.trial(name_of(1))).uid == UID
