"""Budgets of time, all services in virtual time: judged without any event, exact under faults."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import RUN
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import SWEEP_INTERVAL_S
from trialbus.kernel.run import RunPhase
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.law_probes import InSteadyState, experiments_of
from trialbus.testkit.memory_launcher import Script
from trialbus.testkit.scenario import FAIR, NAMESPACE, Machine, experiment_object
from trialbus.testkit.world import World

RUNNING = RunState.RUNNING
_DEADLINE_S = 600.0
_LENGTH_S = 7.0


def seven_seconds(_seed: int, _run: str, _plan: RunPlan) -> Script:
    return Script(output=((0.0, b"loss=0.5\n"),), duration_s=_LENGTH_S)


STORY = replace(FAIR, program=seven_seconds, names=(), limit_s=2000.0)


async def ended(world: World, **annotations: Any) -> Experiment:
    """A thousand trials, three at a time; until it has ended."""
    made = experiment_object("tune", 1, replace(FAIR, trials=1000, parallel=3))
    made["metadata"]["annotations"] = {f"trialbus.io/{k}": v for k, v in annotations.items()}
    subject = subjects.command(NAMESPACE, "tune", Verb.APPLY.value)
    reply = await world.command(subject, Command(id="c", object=made).to_bytes())
    assert CommandReply.from_bytes(reply).accepted, reply
    for _ in range(int(_DEADLINE_S)):
        [state] = experiments_of(world)
        if state.ended:
            return state
        await world.clock.sleep(1.0)
    raise AssertionError(f"it never ended: {state.phase}")


async def lose_one(world: World, machine: Machine) -> None:
    """After ten seconds of trials."""
    await world.clock.sleep(10.0)
    alive = [it for it in machine.place.starts if machine.place.status(it).state is RUNNING]
    machine.place.lose(min(alive))


def lost(world: World) -> int:
    runs = map(RUN.decode, world.store.documents("runs"))
    return sum(it.phase is RunPhase.LOST for it in runs)


def paid(world: World) -> float:
    runs = map(RUN.decode, world.store.documents("runs"))
    return sum((it.finished_at or 0.0) - (it.started_at or 0.0) for it in runs)


def test_wall_time_ends_it_between_two_trials(in_steady_state: InSteadyState) -> None:
    """Trials take 7 s, so nothing happens at 10 s: it looks by itself."""

    async def act(world: World, _machines: list[Machine]) -> None:
        state = await ended(world, **{"max-duration": "10s"})
        assert state.verdict is not None
        assert state.verdict.reason == "ExperimentMaxDurationReached"
        assert 10.0 <= state.ran_s <= 10.0 + 1.5 * SWEEP_INTERVAL_S
        assert (state.counts.succeeded, state.counts.killed) == (3, 3)

    in_steady_state(act, story=STORY)


def test_draining_waits_for_what_runs(in_steady_state: InSteadyState) -> None:
    async def act(world: World, _machines: list[Machine]) -> None:
        state = await ended(world, **{"max-duration": "10s", "at-goal": "drain"})
        assert (state.counts.succeeded, state.counts.killed) == (6, 0)

    in_steady_state(act, story=STORY)


@pytest.mark.parametrize("seed", range(4))
def test_resource_seconds_are_exact_whatever_fails(
    in_steady_state: InSteadyState, seed: int
) -> None:
    async def act(world: World, machines: list[Machine]) -> None:
        world.doom("experiment", calls=25 + 7 * seed, away_s=1.0)
        world.doom("trial_launcher", calls=20 + 9 * seed, away_s=1.0)
        losing = asyncio.ensure_future(lose_one(world, machines[0]))
        state = await ended(world, **{"max-resource-seconds": "60"})
        await losing
        assert (world.faults, lost(world)) == (2, 1)
        assert state.verdict is not None
        assert state.verdict.reason == "ExperimentMaxResourceSecondsReached"
        assert state.spent == pytest.approx(paid(world))
        # Three run at once, and it looks every two seconds.
        assert 60.0 <= state.spent <= 60.0 + 3 * (1.5 * SWEEP_INTERVAL_S + 1.0)

    in_steady_state(act, story=STORY)
