"""Budgets edited while an experiment runs and after, and what a deletion leaves: all services."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.ports.launcher import RunPlan
from trialbus.testkit.law_probes import InSteadyState, experiments_of
from trialbus.testkit.memory_launcher import Script, most_at_once
from trialbus.testkit.scenario import FAIR, NAMESPACE, Machine, experiment_object
from trialbus.testkit.world import World

_COLLECTIONS = ("trials", "answers", "runs", "chunks")
_DEADLINE_S = 400.0
_RETENTION_S = 300.0


def one_second(_seed: int, _run: str, _plan: RunPlan) -> Script:
    return Script(output=((0.0, b"loss=0.5\n"),), duration_s=1.0)


# Nothing is asked for before the test does.
STORY = replace(FAIR, program=one_second, names=(), limit_s=2000.0)


class Editor:
    """Somebody who edits one experiment."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._sent = 0

    async def apply(self, **spec: Any) -> None:
        made = experiment_object("tune", 1, FAIR)
        made["spec"] |= {"resumePolicy": "LongRunning", **spec}
        await self._send(Verb.APPLY, object=made)

    async def delete(self, *, keep_history: bool) -> None:
        await self._send(Verb.DELETE, keep_history=keep_history)

    async def _send(self, verb: Verb, **fields: Any) -> None:
        self._sent += 1
        subject = subjects.command(NAMESPACE, "tune", verb.value)
        command = Command(id=f"edit-{self._sent}", **fields)
        reply = CommandReply.from_bytes(await self.world.command(subject, command.to_bytes()))
        assert reply.accepted, reply

    async def until(self, holds: Callable[[Experiment], bool]) -> Experiment:
        for _ in range(int(_DEADLINE_S * 10)):
            [state] = experiments_of(self.world)
            if holds(state):
                return state
            await self.world.clock.sleep(0.1)
        raise AssertionError(f"it never came so far: {state.phase}, {state.next_index} trials")

    def left(self) -> dict[str, int]:
        return {name: len(self.world.store.documents(name)) for name in _COLLECTIONS}


async def lower_then_raise(world: World, machines: list[Machine]) -> int:
    editor = Editor(world)
    await editor.apply(maxTrialCount=20, parallelTrialCount=4)
    before = await editor.until(lambda state: state.next_index >= 6)
    await editor.apply(maxTrialCount=5, parallelTrialCount=1)
    over = await editor.until(lambda state: state.ended)
    # None was started any more, none that ran was stopped, none that ended is gone.
    assert over.next_index in (before.next_index, before.next_index + 1)
    assert over.counts.succeeded == over.next_index
    assert editor.left()["trials"] == over.next_index
    [machine] = machines
    assert most_at_once(machine.place.lives(over.id)) <= 4

    await editor.apply(maxTrialCount=4, parallelTrialCount=1)
    await world.clock.sleep(10.0)
    assert (await editor.until(lambda state: state.ended)).next_index == over.next_index

    await editor.apply(maxTrialCount=over.next_index + 4, parallelTrialCount=2)
    again = await editor.until(lambda state: state.ended)
    assert (again.next_index, again.counts.succeeded) == (over.next_index + 4,) * 2
    assert set(machine.place.starts.values()) == {1}
    lives = sorted(machine.place.lives(over.id))
    return most_at_once(lives[over.next_index :])


def test_a_lowered_budget_drains_and_a_raised_one_goes_on(in_steady_state: InSteadyState) -> None:
    assert in_steady_state(lower_then_raise, story=STORY) == 2


async def raise_the_parallelism(world: World, machines: list[Machine]) -> int:
    editor = Editor(world)
    await editor.apply(maxTrialCount=20, parallelTrialCount=1)
    await editor.until(lambda state: state.next_index >= 2)
    await editor.apply(maxTrialCount=20, parallelTrialCount=5)
    over = await editor.until(lambda state: state.ended)
    assert (over.next_index, over.counts.succeeded) == (20, 20)
    [machine] = machines
    return most_at_once(machine.place.lives(over.id))


def test_a_raised_parallelism_is_used(in_steady_state: InSteadyState) -> None:
    assert in_steady_state(raise_the_parallelism, story=STORY) == 5


@pytest.mark.parametrize("running", [True, False])
def test_a_deletion_cleans_up(in_steady_state: InSteadyState, running: bool) -> None:
    async def act(world: World, machines: list[Machine]) -> None:
        editor = Editor(world)
        await editor.apply(maxTrialCount=6, parallelTrialCount=3)
        await editor.until(lambda state: state.next_index > 3 if running else state.ended)
        await editor.delete(keep_history=False)
        state = await editor.until(lambda state: state.phase is Phase.DELETED)
        await world.clock.sleep(2 * LATE_WRITE_S)
        assert editor.left() == dict.fromkeys(_COLLECTIONS, 0)
        [machine] = machines
        assert machine.place.alive(state.id) == 0

    in_steady_state(act, story=STORY)


def test_a_kept_history_stays_as_long_as_finished_experiments(
    in_steady_state: InSteadyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIALBUS_FINISHED_RETENTION_S", str(_RETENTION_S))

    async def act(world: World, _machines: list[Machine]) -> None:
        editor = Editor(world)
        await editor.apply(maxTrialCount=6, parallelTrialCount=3)
        await editor.until(lambda state: state.next_index > 3)
        await editor.delete(keep_history=True)
        state = await editor.until(lambda state: state.phase is Phase.ARCHIVED)
        await world.clock.sleep(_RETENTION_S / 2)
        left = editor.left()
        assert left["trials"] == state.next_index > 3
        assert left["chunks"] > 0
        await editor.until(lambda state: state.phase is Phase.DELETED)
        await world.clock.sleep(2 * LATE_WRITE_S)
        assert editor.left() == dict.fromkeys(_COLLECTIONS, 0)

    in_steady_state(act, story=STORY)
