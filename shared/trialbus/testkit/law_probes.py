"""How tests of the laws look at a world: for a broken law, or while nothing should happen."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Protocol, TypeVar

from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.experiment import Experiment
from trialbus.ports.launcher import RunPlan
from trialbus.runtime.parts import ServiceDefinition
from trialbus.testkit.memory_launcher import HANG, Script
from trialbus.testkit.outcome_checks import check_outcome
from trialbus.testkit.scenario import (
    FAIR,
    LauncherComposer,
    Machine,
    Outcome,
    Story,
    build_world,
    post_all,
)
from trialbus.testkit.virtual_time import Stalled, run_virtual
from trialbus.testkit.world import World

T = TypeVar("T")

_STEADY_S = 12.0
_LIMIT_S = 1000.0


class Play(Protocol):
    """Plays one seed to its end."""

    def __call__(self, seed: int, story: Story = ..., *, without: str = "") -> Outcome: ...


def broken_within(play: Play, story: Story, seeds: int) -> str | None:
    """How the first of so many seeds breaks a law; None if all keep them."""
    for seed in range(seeds):
        try:
            check_outcome(play(seed, story))
        except (AssertionError, Stalled) as violation:
            return str(violation)
    return None


def hang(_seed: int, _run: str, _plan: RunPlan) -> Script:
    """Runs that do not end by themselves."""
    return HANG


def echo(_seed: int, _run: str, _plan: RunPlan) -> Script:
    """Runs that say one value and end."""
    return Script(output=((0.0, b"loss=0.5\n"),), duration_s=0.01)


STEADY = replace(FAIR, program=hang, names=("plain", "stopped"), limit_s=_LIMIT_S)


class InSteadyState(Protocol):
    """What `act` returns in a world where all places are taken by runs that do not end."""

    def __call__(
        self,
        act: Callable[[World, list[Machine]], Awaitable[T]],
        *,
        without: str = "",
        story: Story = ...,
    ) -> T: ...


def in_steady_state(
    definitions: Mapping[str, ServiceDefinition],
    compose: LauncherComposer,
    act: Callable[[World, list[Machine]], Awaitable[T]],
    story: Story = STEADY,
) -> T:
    async def live() -> T:
        world, machines = build_world(0, definitions, compose, story, Random(0))
        await post_all(world, 0, story)
        await world.clock.sleep(_STEADY_S)
        try:
            return await act(world, machines)
        finally:
            await world.close()

    return run_virtual(live(), limit_s=story.limit_s)


def experiments_of(world: World) -> list[Experiment]:
    return [EXPERIMENT.decode(it) for it in world.store.documents("experiments")]
