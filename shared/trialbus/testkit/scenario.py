"""One seed of the simulation: three experiments, ten faults, and what must hold in the end."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.ports.launcher import RunPlan
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.testkit.memory_launcher import LOST, MemoryWorld, Script
from trialbus.testkit.virtual_time import run_virtual
from trialbus.testkit.world import LoopClock, Weather, World

NAMESPACE = "sim"
TRIALS = 20
FAULTS = 10
_FAULTS_WITHIN_S = 40.0
_LIMIT_S = 3600.0
_POLL_S = 2.0
_QUIET_S = 8.0
_ALL_BYTES = 1 << 20

# The launcher needs a place to run things: the simulation passes its own.
LauncherComposer = Callable[[Parts, MemoryWorld], Behaviour]


@dataclass(slots=True)
class Outcome:
    """What one seed left behind. starts: executions by run id; outputs: what each run printed;
    most_alive: runs of an experiment (by uid) that ever lived at one instant."""

    seed: int
    world: World
    starts: Mapping[str, int]
    outputs: Mapping[str, bytes]
    most_alive: Mapping[str, int]
    experiments: list[Experiment]


def simulate(
    seed: int, definitions: Mapping[str, ServiceDefinition], compose_launcher: LauncherComposer
) -> Outcome:
    """Run one seed to its end. Raises Stalled when an experiment does not end."""
    return run_virtual(_simulate(seed, definitions, compose_launcher), limit_s=_LIMIT_S)


async def _simulate(
    seed: int, definitions: Mapping[str, ServiceDefinition], compose_launcher: LauncherComposer
) -> Outcome:
    rng = Random(seed)
    clock = LoopClock()
    place = MemoryWorld(lambda run_id, plan: script_of(seed, run_id, plan), now=clock.now)

    async def build_launcher(parts: Parts) -> Behaviour:
        return compose_launcher(parts, place)

    launcher = definitions["trial_launcher"]
    all_definitions = {
        **definitions,
        "trial_launcher": ServiceDefinition(
            name=launcher.name, owns=launcher.owns, build=build_launcher
        ),
    }
    world = World(definitions=all_definitions, rng=rng, weather=_weather(rng))
    world.start_all()
    faults = asyncio.ensure_future(_inject(world, place, rng))
    await _post_all(world, seed)
    experiments = await _wait_for_ends(world)
    await faults
    world.weather = Weather()
    await asyncio.sleep(_QUIET_S)
    experiments = _experiments(world)
    await world.close()
    outputs = {run_id: place.read(run_id, 0, _ALL_BYTES) for run_id in place.starts}
    most_alive = {it.id: place.most_alive(it.id) for it in experiments}
    return Outcome(
        seed=seed,
        world=world,
        starts=dict(place.starts),
        outputs=outputs,
        most_alive=most_alive,
        experiments=experiments,
    )


def _weather(rng: Random) -> Weather:
    """From fair to foul."""
    worst = rng.choice([0.0, 0.02, 0.1])
    return Weather(drop=worst, repeat=worst, late=2 * worst, unconfirmed=worst / 2)


async def _inject(world: World, place: MemoryWorld, rng: Random) -> None:
    """Ten faults at random times."""
    names = sorted(world.definitions)
    for at in sorted(rng.uniform(0.0, _FAULTS_WITHIN_S) for _ in range(FAULTS)):
        now = world.clock.monotonic()
        await asyncio.sleep(max(0.0, at - now))
        name = rng.choice(names)
        match rng.randrange(10):
            case 0 | 1 | 2 | 3:
                world.doom(name, calls=rng.randrange(60), away_s=rng.uniform(0.1, 5.0))
            case 4:
                world.crash(name, away_s=rng.uniform(0.1, 5.0))
            case 5:
                world.cut_bus(name, for_s=rng.uniform(0.5, 15.0))
            case 6:
                world.take_store_away(for_s=rng.uniform(0.5, 8.0))
            case 7:
                world.bus.wipe()
            case 8:
                place.reboot() if rng.random() < 0.3 else _lose_one(place, rng)
            case _:
                for each in names:
                    world.crash(each, away_s=rng.uniform(0.1, 2.0))


def _lose_one(place: MemoryWorld, rng: Random) -> None:
    runs = sorted(place.starts)
    if runs:
        place.lose(rng.choice(runs))


async def _post_all(world: World, seed: int) -> None:
    replies = await asyncio.gather(
        *(_post(world, experiment_object(name, seed), f"{name}-{seed}") for name in NAMES)
    )
    for reply in replies:
        if not reply.accepted:
            raise Refused([])


async def _post(world: World, experiment: Mapping[str, Any], command_id: str) -> CommandReply:
    subject = subjects.command(NAMESPACE, experiment["metadata"]["name"], Verb.APPLY.value)
    command = Command(id=command_id, object=dict(experiment))
    return CommandReply.from_bytes(await world.command(subject, command.to_bytes()))


async def _wait_for_ends(world: World) -> list[Experiment]:
    while True:
        if world.failures:
            raise world.failures[0]
        experiments = _experiments(world)
        if len(experiments) == len(NAMES) and all(it.ended for it in experiments):
            return experiments
        await asyncio.sleep(_POLL_S)


def _experiments(world: World) -> list[Experiment]:
    return [EXPERIMENT.decode(it) for it in world.store.documents("experiments")]


# What is tuned ---------------------------------------------------------------------------------

NAMES = ("plain", "stopped", "finite")


def experiment_object(name: str, seed: int) -> dict[str, Any]:
    """Three kinds: doubles at random; with early stopping; a finite space."""
    spec: dict[str, Any] = {
        "parallelTrialCount": 4,
        "maxTrialCount": TRIALS,
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {
            "algorithmName": "random",
            "algorithmSettings": [{"name": "random_state", "value": str(seed)}],
        },
        "parameters": [
            {
                "name": "x",
                "parameterType": "double",
                "feasibleSpace": {"min": "-5", "max": "5"},
            }
        ],
    }
    if name == "stopped":
        spec["earlyStopping"] = {
            "algorithmName": "medianstop",
            "algorithmSettings": [
                {"name": "min_trials_required", "value": "2"},
                {"name": "start_step", "value": "2"},
            ],
        }
    if name == "finite":
        spec["parameters"] = [
            {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "11"}},
            {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
        ]
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def script_of(seed: int, run_id: str, plan: RunPlan) -> Script:
    """What a run does: mostly reports a few values of its loss and ends well."""
    rng = Random(f"{seed}/{run_id}")
    parameters = json.loads(plan.files["parameters.json"])
    loss = float(parameters["x"]) ** 2
    fate = rng.random()
    if fate < 0.03:
        return LOST
    steps = rng.randrange(1, 6)
    pace = rng.choice([0.001, 0.3, 1.0])
    lines = tuple(
        (pace * step, f"epoch {step} loss={loss + 3.0 / step}\n".encode())
        for step in range(1, steps + 1)
    )
    duration = pace * (steps + 0.5)
    if fate < 0.08:
        return Script(output=lines, duration_s=duration, exit_code=1)
    if fate < 0.11:
        return Script(output=((0.0, b"nothing to see\n"),), duration_s=duration)
    if fate < 0.13:
        return Script(output=((0.0, b"loss=nan\n"),), duration_s=duration)
    return Script(output=lines, duration_s=duration)
