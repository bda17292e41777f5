"""The same ask twice: together, one while the other is in hand, or at two replicas, it gets the
same trials; nothing is leased to nobody."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.collections import ANSWERS, RUNS
from trialbus.contracts.documents import ANSWER, RUN
from trialbus.contracts.envelope import Body
from trialbus.contracts.work import Ask, GivenTrial, Result, Tell, WorkReply, WorkVerb
from trialbus.kernel.experiment import OpenState, OpenTrial
from trialbus.kernel.ids import answer_id
from trialbus.kernel.run import Run
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer, LookAhead
from trialbus.ports.bus import Request
from trialbus.testkit.experiment_states import experiment, spec
from trialbus.testkit.memory_store import MemoryStore, StoreCall
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.waits import until
from trialbus_trial_launcher.app.leasing import waiting, work
from trialbus_trial_launcher.app.leasing.leasing import Leasing

OPEN = 4
UID = "11111111-1111-4111-8111-111111111111"


class Slow:
    """A store whose commits of runs wait for a word, if they are to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.waiting = asyncio.Event()

    async def before(self, call: StoreCall) -> None:
        if (call.operation, call.collection) == ("commit", RUNS.name) and not self.go_on.is_set():
            self.waiting.set()
            await self.go_on.wait()

    async def after(self, call: StoreCall) -> None:
        return None


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def world(slow: Slow) -> StillWorld:
    world = StillWorld(store=MemoryStore(faults=slow))
    opened = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=0.0)
    await world.prepare(
        experiment(
            spec(trials_by=TrialsBy.WORKERS),
            id=UID,
            version=1,
            open={str(index): opened for index in range(OPEN)},
        )
    )
    answer = Answer(
        id=answer_id(UID, 1),
        uid=UID,
        version=1,
        number=1,
        first=0,
        watermark=0,
        seed=1,
        points=tuple((f"0.{index}",) for index in range(OPEN)),
        exhausted=False,
        look_ahead=LookAhead.FREE,
        refused=None,
        answered_at=0.0,
        took_s=0.0,
    )
    await world.insert(ANSWERS.name, ANSWER.encode(answer))
    return world


def request(verb: WorkVerb, body: Body) -> Request:
    return Request(subject=subjects.command("ns", "exp", verb.value), data=body.to_bytes())


async def say(leasing: Leasing, *said: tuple[WorkVerb, Body]) -> list[WorkReply]:
    """In one group."""
    answers = await leasing.respond([request(verb, body) for verb, body in said])
    replies = []
    for answer in answers:
        data = answer if isinstance(answer, bytes) or answer is None else await answer
        assert data is not None
        replies.append(WorkReply.from_bytes(data))
    return replies


async def ask(leasing: Leasing, id_: str, count: int = 1) -> Sequence[GivenTrial]:
    [reply] = await say(leasing, (WorkVerb.ASK, Ask(id=id_, count=count)))
    return reply.trials


def living(world: StillWorld) -> list[Run]:
    runs = [RUN.decode(it) for it in world.store.documents(RUNS.name)]
    return [run for run in runs if not run.ended]


def end_of(trial: GivenTrial, next_ask: str) -> tuple[WorkVerb, Tell]:
    result = Result(trial=trial.trial, attempt=trial.attempt, metrics={"loss": 0.5}, reported=False)
    return WorkVerb.TELL, Tell(results=(result,), ask=Ask(id=next_ask))


async def test_the_same_ask_twice_in_one_group_gets_the_same_trials(world: StillWorld) -> None:
    said = (WorkVerb.ASK, Ask(id="a", count=2))
    first, second = await say(Leasing(world.parts(), "/c"), said, said)
    assert first.trials == second.trials
    assert len(living(world)) == 2


async def test_the_same_tell_twice_in_one_group_gets_the_same_trials(world: StillWorld) -> None:
    leasing = Leasing(world.parts(), "/c")
    [held] = await ask(leasing, "a")
    first, second = await say(leasing, end_of(held, "b"), end_of(held, "b"))
    assert first == second
    assert [run.trial for run in living(world)] == [first.trials[0].trial]


async def test_an_ask_that_comes_again_while_it_is_in_hand_gets_the_same_trials(
    world: StillWorld, slow: Slow
) -> None:
    leasing = Leasing(world.parts(), "/c")
    slow.go_on.clear()
    first = asyncio.create_task(ask(leasing, "a"))
    await slow.waiting.wait()
    second = asyncio.create_task(ask(leasing, "a"))
    for _ in range(20):
        await asyncio.sleep(0)
    slow.go_on.set()
    assert await first == await second
    assert len(living(world)) == 1


async def test_a_tell_repeated_at_another_replica_gets_the_trials_that_it_got(
    world: StillWorld,
) -> None:
    """The replica that gave the first trial out remembers it as running."""
    one, two = Leasing(world.parts("one"), "/c"), Leasing(world.parts("two"), "/c")
    [held] = await ask(one, "a")
    [told] = await say(two, end_of(held, "b"))
    [repeated] = await say(one, end_of(held, "b"))
    assert repeated.answers[0].accepted
    assert repeated.trials == told.trials
    assert [run.trial for run in living(world)] == [told.trials[0].trial]


async def test_who_has_waited_long_enough_is_told_of_what_is_being_given_just_now(
    world: StillWorld, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "WORK_AGE_S", -1.0)
    leasing = Leasing(world.parts(), "/c")
    taken = await ask(leasing, "others", OPEN)
    later = asyncio.create_task(
        say(leasing, (WorkVerb.ASK, Ask(id="a", wait=0.5))), name="the worker"
    )
    serving = asyncio.ensure_future(leasing.tasks[0]())
    await asyncio.sleep(0)
    documents = await world.parts("test").store.get_many("experiments", [UID])
    assert documents
    state = experiment(
        spec(trials_by=TrialsBy.WORKERS),
        id=UID,
        open={
            str(index): OpenTrial(
                attempt=1 + (index == 0), state=OpenState.ACTIVE, request=1, opened_at=0.0
            )
            for index in range(OPEN)
        },
    )
    slow.go_on.clear()
    await world.put(state)
    await leasing.look([UID])
    await slow.waiting.wait()
    # Its time runs out while the commit is on its way.
    over = time.monotonic() + 0.6
    await until(lambda: time.monotonic() >= over, "its time has run out")
    slow.go_on.set()
    [reply] = await later
    serving.cancel()
    assert [(it.trial, it.attempt) for it in reply.trials] == [(taken[0].trial, 2)]


async def test_an_experiment_is_there_however_many_others_are_known(
    world: StillWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MAX_KNOWN_EXPERIMENTS", 1)
    other = experiment(
        spec(trials_by=TrialsBy.WORKERS),
        id=UID.replace("1", "2"),
        name="other",
        alive_name="ns/other",
    )
    await world.put(replace(other, version=1))
    leasing = Leasing(world.parts(), "/c")
    await ask(leasing, "a")
    both = [
        Request(subject=subjects.command("ns", name, "ask"), data=Ask(id="b").to_bytes())
        for name in ("exp", "other")
    ]
    world.clock.time += 10
    answers = await leasing.respond(both)
    assert all(isinstance(it, bytes) and WorkReply.from_bytes(it).accepted for it in answers)


def test_what_is_remembered_of_news_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_KNOWN_EXPERIMENTS", 3)
    parts = StillWorld().parts()
    leasing = Leasing(parts, "/c")
    for number in range(10):
        leasing._waiting.news([f"u{number}"])
    assert list(leasing._waiting._heard) == ["u7", "u8", "u9"]


async def test_the_refusal_of_a_workers_event_names_the_event(world: StillWorld) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "event-7",
        "ce-source": "/ci",
        "ce-type": "io.trialbus.trial.ask.v1",
        "ce-subject": "ns/gone",
        "content-type": "application/json",
    }
    await Leasing(world.parts(), "/c").respond(
        [Request(subject=subjects.command("ns", "gone", "ask"), data=b"{}", headers=headers)]
    )
    [event] = [it for it in world.events if it.type == "command.refused"]
    assert event.data["command"] == "event-7"
