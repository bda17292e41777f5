"""One document that nobody can read is nobody else's trouble: leases end and asks are served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from trialbus.contracts import subjects
from trialbus.contracts.collections import ANSWERS, RUNS
from trialbus.contracts.documents import ANSWER, RUN
from trialbus.contracts.work import Ask, WorkReply
from trialbus.kernel.experiment import Experiment, OpenState, OpenTrial
from trialbus.kernel.ids import answer_id
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer, LookAhead
from trialbus.ports.bus import Request
from trialbus.ports.store import Write
from trialbus.testkit.experiment_states import experiment, spec
from trialbus.testkit.still_world import HastyClock, StillWorld
from trialbus.testkit.waits import until
from trialbus_trial_launcher.app.leasing.leasing import Leasing
from trialbus_trial_launcher.core.leases import Place, leased

UIDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
NAMES = ("first", "second")
WAITS = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=0.0)


def state_of(uid: str, name: str) -> Experiment:
    workers = spec(trials_by=TrialsBy.WORKERS)
    return experiment(workers, id=uid, name=name, alive_name=f"ns/{name}", open={})


def points_of(uid: str) -> Answer:
    """One."""
    return Answer(
        id=answer_id(uid, 1),
        uid=uid,
        version=1,
        number=1,
        first=0,
        watermark=0,
        seed=1,
        points=(("0.5",),),
        exhausted=False,
        look_ahead=LookAhead.FREE,
        refused=None,
        answered_at=0.0,
        took_s=0.0,
    )


@asynccontextmanager
async def doing(task: Callable[[], Awaitable[None]]) -> AsyncIterator["asyncio.Future[None]"]:
    running = asyncio.ensure_future(task())
    try:
        yield running
    finally:
        running.cancel()


async def test_a_run_that_cannot_be_read_keeps_no_other_lease_alive() -> None:
    world = StillWorld(clock=HastyClock())
    await world.prepare()
    for index in range(3):
        place = Place(
            uid=UIDS[0], namespace="ns", experiment="exp", trial="t", index=index, attempt=1
        )
        document = RUN.encode(leased(place, worker="w", ask="a", lease_s=1.0, now=0.0))
        if index == 1:
            document["phase"] = "Dancing"
        await world.insert(RUNS.name, document)

    def phases() -> list[str]:
        return [it["phase"] for it in world.store.documents(RUNS.name)]

    lost = RunPhase.LOST.value
    async with doing(Leasing(world.parts(), "/c").tasks[1]) as running:
        await until(lambda: phases() == [lost, "Dancing", lost], "the others are lost")
        assert not running.done()


async def test_more_unreadable_runs_than_are_looked_at_at_once_keep_no_lease_alive() -> None:
    world = StillWorld(clock=HastyClock())
    await world.prepare()
    # Those that nobody can read ended first, all at the same time.
    documents = [lease_document(index, until=1.0, spoilt=True) for index in range(1100)]
    documents.append(lease_document(1100, until=2.0))
    for document in documents:
        await world.insert(RUNS.name, document)

    def phase(document: dict[str, object]) -> object:
        [found] = [it for it in world.store.documents(RUNS.name) if it["_id"] == document["_id"]]
        return found["phase"]

    async with doing(Leasing(world.parts(), "/c").tasks[1]):
        await until(lambda: phase(documents[-1]) == RunPhase.LOST.value, "the last one is lost")
        # One that somebody has corrected is looked at again.
        corrected = {**lease_document(0, until=1.0), "version": 2}
        tests = world.store.client("tests")
        await tests.commit(RUNS.name, [Write(base=documents[0], document=corrected)])
        await until(lambda: phase(corrected) == RunPhase.LOST.value, "it is lost")


def lease_document(index: int, *, until: float, spoilt: bool = False) -> dict[str, object]:
    place = Place(uid=UIDS[0], namespace="ns", experiment="exp", trial="t", index=index, attempt=1)
    document = RUN.encode(leased(place, worker="w", ask="a", lease_s=until, now=0.0))
    return {**document, "phase": "Dancing"} if spoilt else document


async def test_an_experiment_whose_points_cannot_be_read_keeps_nobody_else_waiting() -> None:
    world = StillWorld()
    await world.prepare()
    for uid, name in zip(UIDS, NAMES, strict=True):
        await world.put(state_of(uid, name))
    leasing = Leasing(world.parts(), "/c")
    asks = [
        Request(subject=subjects.command("ns", name, "ask"), data=Ask(id="a", wait=30.0).to_bytes())
        for name in NAMES
    ]
    async with doing(leasing.tasks[0]) as running:
        later = []
        for answer in await leasing.respond(asks):
            assert answer is not None and not isinstance(answer, bytes)
            later.append(asyncio.ensure_future(answer))
        await asyncio.sleep(0)
        for uid, name in zip(UIDS, NAMES, strict=True):
            document = ANSWER.encode(points_of(uid))
            if name == NAMES[0]:
                document["points"] = "none"
            await world.insert(ANSWERS.name, document)
            await world.put(replace(state_of(uid, name), open={"0": WAITS}))
        await leasing.look(UIDS)
        await until(later[1].done, "the second has its trial")
        data = later[1].result()
        assert data is not None and len(WorkReply.from_bytes(data).trials) == 1
        assert not running.done() and not later[0].done()
    later[0].cancel()
