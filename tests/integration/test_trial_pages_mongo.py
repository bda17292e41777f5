"""Pages of sorted and filtered trials on a real mongod: answered by indexes alone."""

import math
import uuid
from collections.abc import AsyncIterator

import pytest
from pymongo import AsyncMongoClient

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Write
from trialbus.testkit.gateway_documents import experiment, trial
from trialbus_gateway.app.listing import PageRequest
from trialbus_gateway.app.trial_listing import TrialListing
from trialbus_gateway.app.trial_selection import TrialSelection, TrialSort

pytestmark = pytest.mark.servers

COUNT, LIMIT = 2000, 20
STATE = experiment(version=1)
PHASES = [TrialPhase.SUCCEEDED, TrialPhase.FAILED, TrialPhase.EARLY_STOPPED, TrialPhase.SUCCEEDED]


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[MongoSettings]:
    settings = MongoSettings(url=mongo_url, database=f"t{uuid.uuid4().hex[:16]}")
    yield settings
    async with AsyncMongoClient[Document](settings.url) as client:
        await client.drop_database(settings.database)


@pytest.fixture
async def store(database: MongoSettings) -> AsyncIterator[MongoStore]:
    store = MongoStore(database)
    await store.prepare([EXPERIMENTS, TRIALS])
    await store.commit(EXPERIMENTS.name, [Write(base=None, document=EXPERIMENT.encode(STATE))])
    values = [0.5, math.nan, None, 0.25, math.inf, 0.5]
    trials = [
        trial(
            index,
            phase=PHASES[index % len(PHASES)],
            value=values[index % len(values)],
            finished=COUNT - index,
        )
        for index in range(COUNT)
    ]
    await store.commit(TRIALS.name, [Write(base=None, document=TRIAL.encode(it)) for it in trials])
    yield store
    await store.close()


SELECTIONS = [
    *(TrialSelection(sort=sort) for sort in TrialSort),
    TrialSelection(states=frozenset({"Failed", "EarlyStopped"})),
    TrialSelection(states=frozenset({"Failed"}), sort=TrialSort.NEWEST, index_to=1500),
    TrialSelection(value_from=0.3, value_to=0.6, sort=TrialSort.BEST),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=range(len(SELECTIONS)))
async def test_a_page_examines_about_what_it_shows(
    database: MongoSettings, store: MongoStore, selection: TrialSelection
) -> None:
    listing = TrialListing(store)
    seen, after = list[str](), None
    async with AsyncMongoClient[Document](database.url) as client:
        profiled = client[database.database]
        await profiled.command({"profile": 2})
        for _ in range(COUNT // LIMIT + 1):
            page = await listing.trials_of(STATE, PageRequest.parse(str(LIMIT), after), selection)
            seen += [it.name for it in page.items]
            after = page.next
            if after is None:
                break
        await profiled.command({"profile": 0})
        found = await profiled["system.profile"].find({"op": "query"}).to_list(None)
    assert len(seen) == len(set(seen)) >= 300
    looked = [it for it in found if it["ns"].endswith(".trials")]
    assert len(looked) >= len(seen) // LIMIT
    # Only open trials, which are few, may have to be sorted.
    sorted_ = [it for it in looked if it.get("hasSortStage")]
    assert all(it["command"]["filter"].get("finished") == {"$eq": None} for it in sorted_)
    # A filter that half of them pass may be met along the way.
    room = LIMIT + 1 if not selection.states else 3 * LIMIT
    assert max(it["docsExamined"] for it in looked) <= room
