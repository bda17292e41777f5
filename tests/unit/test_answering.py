"""The suggestion service: drawn once, stored before it is told, never changed."""

from dataclasses import dataclass, field, replace
from traceback import format_exception

import pytest
from structlog.testing import capture_logs

from trialbus.contracts.documents import ANSWER, TRIAL
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus.kernel.suggestion import Answer, LookAhead, PointsRequest
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.ports.compute import HistorySource
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.runtime.parts import Beside
from trialbus.testkit.still_world import UID, StillWorld
from trialbus.testkit.still_world import experiment as living
from trialbus_suggestion.app.answering import Answering


@dataclass
class Counting:
    """Draws the number of the request and how often it was asked; notes what it could see."""

    asked: list[ProposalRequest] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    fault: Exception | None = None
    after: int | None = 0
    at_once: bool = True

    def answers_at_once(self, algorithm: str) -> bool:
        return self.at_once

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        self.asked.append(request)
        if self.fault is not None:
            raise self.fault
        self.histories.append(await history(first=0, after=self.after))
        points = tuple((f"{request.number}.{len(self.asked)}",) for _ in range(request.count))
        return Proposal(points=points)

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)

    async def close(self) -> None:
        """Nothing to stop."""


def asking(*, number: int = 1, first: int = 0, watermark: int = 0, count: int = 2) -> Experiment:
    request = PointsRequest(
        number=number, first=first, count=count, watermark=watermark, asked_at=900.0
    )
    return replace(living(), requests=(request,), next_request=number + 1)


async def answering(
    state: Experiment, compute: Counting, world: StillWorld | None = None
) -> tuple[StillWorld, Answering]:
    world = world or StillWorld()
    await world.prepare(state)
    return world, Answering(world.parts(), compute, installed_catalogue())


def answers(world: StillWorld) -> list[Answer]:
    return [ANSWER.decode(it) for it in world.store.documents("answers")]


def finished(index: int, number: int, value: float | None) -> Trial:
    return Trial(
        id=f"{UID}.{index}",
        uid=UID,
        version=2,
        namespace="team",
        experiment="tune",
        index=index,
        name=f"tune-{index}",
        phase=TrialPhase.SUCCEEDED if value is not None else TrialPhase.FAILED,
        assignments=(Assignment(name="x", value=f"0.{index}"),),
        conditions=(),
        created_at=0.0,
        finished=number,
        value=value,
    )


async def test_a_request_is_answered_stored_and_told() -> None:
    world, service = await answering(asking(), Counting())
    assert await service.react([UID]) == {}
    [answer] = answers(world)
    assert (answer.id, answer.number, answer.first) == (f"{UID}:1", 1, 0)
    assert answer.points == (("1.1",), ("1.1",))
    assert answer.look_ahead is LookAhead.FREE
    assert [event.type for event in world.events] == ["suggestion.proposed"]
    assert world.events[0].data == {"number": 1, "count": 2}


async def test_the_same_request_is_drawn_once_and_told_again() -> None:
    compute = Counting()
    world, service = await answering(asking(), compute)
    await service.react([UID])
    world.clock.time += 5
    await service.react([UID])
    assert len(compute.asked) == 1
    assert [event.type for event in world.events] == ["suggestion.proposed"] * 2


async def test_of_two_replicas_the_first_answer_counts() -> None:
    one, other = Counting(), Counting()
    world, first = await answering(asking(), one)
    second = Answering(world.parts("other"), other, installed_catalogue())
    other.asked.append(ProposalRequest(number=0, first=0, count=0, watermark=0, seed=0))
    state = asking()
    await first._store([(state, await first._draw(state, state.requests[0]))])
    await second._store([(state, await second._draw(state, state.requests[0]))])
    assert [answer.points[0] for answer in answers(world)] == [("1.1",)]


async def test_seeds_depend_on_the_experiment_and_the_number_alone() -> None:
    compute = Counting()
    for number, time in ((1, 1000.0), (1, 5000.0), (2, 1000.0)):
        world, service = await answering(asking(number=number, first=0), compute)
        world.clock.time = time
        await service.react([UID])
    seeds = [request.seed for request in compute.asked]
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(0 <= seed < 2**63 for seed in seeds)


async def test_it_sees_results_up_to_the_watermark_in_their_order() -> None:
    compute = Counting()
    world, service = await answering(asking(number=2, first=3, watermark=2), compute)
    await world.insert("answers", ANSWER.encode(_answer(1, ("0.0",), ("0.1",), ("0.2",))))
    for index, number, value in ((2, 1, 0.5), (0, 2, None), (1, 3, 0.7)):
        await world.insert("trials", {**TRIAL.encode(finished(index, number, value))})
    assert await service.react([UID]) == {}
    [history] = compute.histories
    assert history.points == (("0.0",), ("0.1",), ("0.2",))
    seen = [(it.number, it.index, it.point, it.value) for it in history.finished]
    assert seen == [(1, 2, ("0.2",), 0.5), (2, 0, ("0.0",), None)]


def _answer(number: int, *points: tuple[str, ...], first: int = 0) -> Answer:
    return Answer(
        id=f"{UID}:{number}",
        uid=UID,
        version=1,
        number=number,
        first=first,
        watermark=0,
        seed=0,
        points=points,
        exhausted=False,
        look_ahead=LookAhead.FREE,
        refused=None,
        answered_at=0.0,
        took_s=0.0,
    )


async def test_a_result_that_is_not_written_yet_is_waited_for() -> None:
    world, service = await answering(asking(number=2, first=1, watermark=2), Counting())
    await world.insert("answers", ANSWER.encode(_answer(1, ("0.0",))))
    await world.insert("trials", TRIAL.encode(finished(0, 1, 0.5)))
    failed = await service.react([UID])
    assert isinstance(failed[UID], Transient)
    assert len(answers(world)) == 1


async def test_points_that_were_drawn_anew_after_a_restart_replace_the_dropped_ones() -> None:
    compute = Counting(after=None)
    world, service = await answering(asking(number=3, first=4), compute)
    await world.insert("answers", ANSWER.encode(_answer(1, ("0.0",), ("0.1",), ("0.2",))))
    later = _answer(2, ("9.1",), ("9.2",), ("9.3",), first=1)
    await world.insert("answers", ANSWER.encode(later))
    await service.react([UID])
    assert compute.histories[0].points == (("0.0",), ("9.1",), ("9.2",), ("9.3",))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Refused([Problem(field="algorithm", message="unknown")]), "algorithm: unknown"),
        (ValueError("singular matrix"), "ValueError: singular matrix"),
    ],
)
async def test_what_an_algorithm_cannot_do_is_an_answer_too(fault: Exception, why: str) -> None:
    world, service = await answering(asking(), Counting(fault=fault))
    assert await service.react([UID]) == {}
    [answer] = answers(world)
    assert (answer.refused, answer.points) == (why, ())
    assert [(it.type, it.message) for it in world.events] == [("suggestion.refused", why)]


async def test_a_worker_that_is_away_is_asked_again() -> None:
    world, service = await answering(asking(), Counting(fault=Transient("the worker died")))
    assert isinstance((await service.react([UID]))[UID], Transient)
    assert answers(world) == []


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.ENDING, Phase.DELETING])
async def test_who_opens_no_trials_gets_no_points(phase: Phase) -> None:
    compute = Counting()
    _, service = await answering(replace(asking(), phase=phase), compute)
    await service.react([UID])
    assert compute.asked == []


async def test_an_ended_experiment_is_forgotten() -> None:
    compute = Counting()
    _, service = await answering(replace(asking(), phase=Phase.SUCCEEDED), compute)
    await service.react([UID])
    assert (compute.asked, compute.forgotten) == ([], [UID])


async def test_the_answers_of_a_deleted_experiment_are_removed() -> None:
    compute = Counting()
    world, service = await answering(asking(), compute)
    await service.react([UID])
    gone = replace(asking(), phase=Phase.DELETED, active=False, completed_at=world.clock.now())
    await world.put(gone)
    assert await service.sweep() == [UID]
    await service.react([UID])
    assert answers(world) == []
    assert UID in compute.forgotten
    # Once more, for what was decided before the deletion and came after it.
    assert list(await service.sweep()) == []
    world.clock.time += LATE_WRITE_S + 1
    assert await service.sweep() == [UID]


async def test_an_algorithm_that_takes_its_time_is_answered_beside_its_group() -> None:
    world, service = await answering(asking(), Counting(at_once=False))
    [beside] = (await service.react([UID])).values()
    assert isinstance(beside, Beside)
    assert answers(world) == []
    await beside.work()
    [answer] = answers(world)
    assert answer.points == (("1.1",), ("1.1",))
    assert [event.type for event in world.events] == ["suggestion.proposed"]


async def test_the_traceback_of_an_algorithm_is_logged() -> None:
    fault = Refused([Problem(field="algorithm", message="KeyError: 'width'")])
    fault.add_note("File mine.py, line 7")
    _, service = await answering(asking(), Counting(fault=fault))
    with capture_logs() as logged:
        await service.react([UID])
    [entry] = [it for it in logged if it["event"] == "algorithm failed"]
    assert (entry["uid"], entry["error"]) == (UID, "algorithm: KeyError: 'width'")
    assert "line 7" in "".join(format_exception(entry["exc_info"]))


async def test_what_it_fails_with_is_passed_on() -> None:
    _, service = await answering(asking(), Counting(at_once=False, fault=Transient("away")))
    [beside] = (await service.react([UID])).values()
    assert isinstance(beside, Beside)
    with pytest.raises(Transient, match="away"):
        await beside.work()


async def test_what_is_remembered_of_experiments_at_rest_is_dropped_by_the_sweep() -> None:
    compute = Counting()
    world, service = await answering(asking(), compute)
    await service.react([UID])
    await service.sweep()
    assert compute.forgotten == []
    await world.put(replace(asking(), phase=Phase.SUCCEEDED, active=False))
    await service.sweep()
    await service.sweep()
    assert compute.forgotten == [UID]
