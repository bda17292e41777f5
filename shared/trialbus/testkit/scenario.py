"""One seed of the simulation: three experiments, ten faults, and what must hold in the end."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.ports.launcher import Launcher, RunState
from trialbus.ports.tracing import Tracing
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.testkit.asked_workers import Crew, work_all
from trialbus.testkit.memory_launcher import MemoryWorld, most_at_once
from trialbus.testkit.mortal_launcher import MortalLauncher
from trialbus.testkit.run_scripts import Program, script_of
from trialbus.testkit.virtual_time import run_virtual
from trialbus.testkit.world import STORE_LATENCY_S, LoopClock, Weather, World

NAMESPACE = "sim"
NAMES = ("plain", "stopped", "finite")
TRIALS = 20
PARALLEL = 4
FAULTS = 10
# An operator may allow this many for a while.
MOST_PARALLEL = 6
_FAULT_INTERVAL_S = 0.8
_LIMIT_S = 3600.0
_POLL_S = 1.0
# Long enough to come back, to find what a crash left unsent, to publish and to clear it.
_QUIET_S = 10.0
_ALL_BYTES = 1 << 20
# A look at all objects after every 700 new ones, Python's way, would cost a third of the time.
_GARBAGE_THRESHOLD = 50_000

# Composes a launcher over a place to run things, given the identity of the boot of its machine.
LauncherComposer = Callable[[Parts, Launcher, str], Behaviour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a seed tells. weather None: drawn from the seed. replicas: further processes from the
    start; twins: whether another may be drawn. machines: where trials run, each with a launcher.
    workers: processes that ask for the trials of each experiment; 0: launchers run them. quiet:
    they only tell results.
    operated: whether somebody suspends, resumes and edits meanwhile. latency_s: of the store.
    tracing: see `World`."""

    names: tuple[str, ...] = NAMES
    trials: int = TRIALS
    parallel: int = PARALLEL
    faults: int = FAULTS
    weather: Weather | None = None
    replicas: tuple[str, ...] = ()
    twins: bool = True
    machines: int = 1
    operated: bool = True
    workers: int = 0
    quiet: bool = False
    latency_s: float = STORE_LATENCY_S
    program: Program = script_of
    limit_s: float = _LIMIT_S
    tracing: Callable[[str], Tracing] | None = None


FAIR = Story(faults=0, weather=Weather(), twins=False, operated=False)


@dataclass(slots=True)
class Machine:
    """Where trials run, with its launcher. boots: how often it was started."""

    launcher: str
    place: MemoryWorld
    boots: int = 1

    def reboot(self, world: World) -> None:
        """Its processes die, launcher included."""
        world.faults += 1
        self.place.reboot()
        self.boots += 1
        world.crash(self.launcher, away_s=1.0)


@dataclass(slots=True)
class Outcome:
    """What one seed left behind. outputs: what each run printed."""

    seed: int
    story: Story
    world: World
    machines: list[Machine]
    outputs: Mapping[str, bytes]
    experiments: list[Experiment]
    crews: Mapping[str, Crew] = field(default_factory=dict)

    @property
    def starts(self) -> Counter[str]:
        """Executions by run id, wherever."""
        return sum((machine.place.starts for machine in self.machines), Counter())

    def most_alive(self, uid: str) -> int:
        """Runs of an experiment that ever lived at one instant."""
        return most_at_once(life for machine in self.machines for life in machine.place.lives(uid))


def simulate(
    seed: int,
    definitions: Mapping[str, ServiceDefinition],
    compose_launcher: LauncherComposer,
    story: Story = Story(),
) -> Outcome:
    """Run one seed to its end. Raises Stalled when an experiment does not end."""
    with _rare_collections():
        return run_virtual(
            _simulate(seed, definitions, compose_launcher, story), limit_s=story.limit_s
        )


@contextmanager
def _rare_collections() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _simulate(
    seed: int,
    definitions: Mapping[str, ServiceDefinition],
    compose_launcher: LauncherComposer,
    story: Story,
) -> Outcome:
    rng = Random(seed)
    world, machines = build_world(seed, definitions, compose_launcher, story, rng)
    if story.twins and rng.random() < 0.25:
        world.start(f"{rng.choice(_REPLICATED)}/2")
    faults = asyncio.ensure_future(_inject(world, machines, rng, story.faults))
    await post_all(world, seed, story)
    operator = asyncio.ensure_future(_operate(world, seed, story, rng))
    names = story.names if story.workers else ()
    crews = {name: Crew(NAMESPACE, name, story.quiet) for name in names}
    working = asyncio.ensure_future(work_all(world, crews, seed, story.workers))
    await _wait_for_ends(world, len(story.names))
    await asyncio.gather(faults, operator, working)
    world.calm_down()
    await world.clock.sleep(_QUIET_S)
    experiments = await _wait_for_ends(world, len(story.names))
    await world.close()
    if world.failures:
        raise world.failures[0]
    outputs = {
        run_id: machine.place.read(run_id, 0, _ALL_BYTES)
        for machine in machines
        for run_id in machine.place.starts
    }
    return Outcome(
        seed=seed,
        story=story,
        world=world,
        machines=machines,
        outputs=outputs,
        experiments=experiments,
        crews=crews,
    )


def build_world(
    seed: int,
    definitions: Mapping[str, ServiceDefinition],
    compose_launcher: LauncherComposer,
    story: Story,
    rng: Random,
) -> tuple[World, list[Machine]]:
    """All services, started, and where their trials run."""
    now = LoopClock().now
    machines = {
        name: Machine(name, MemoryWorld(partial(story.program, seed), now=now))
        for name in (
            "trial_launcher",
            *(f"trial_launcher/{n}" for n in range(2, story.machines + 1)),
        )
    }

    async def build_launcher(parts: Parts) -> Behaviour:
        machine = machines[parts.telemetry.service]
        mortal = MortalLauncher(machine.place.launcher(), world, world.life(machine.launcher))
        return compose_launcher(parts, mortal, f"{machine.launcher} {machine.boots}")

    named = dict(definitions)
    if "trial_launcher" in named:
        named["trial_launcher"] = replace(named["trial_launcher"], build=build_launcher)
    world = World(
        definitions=named,
        rng=rng,
        weather=story.weather if story.weather is not None else _weather(rng),
        latency_s=story.latency_s,
        tracing=story.tracing,
    )
    world.start_all()
    for key in (*story.replicas, *list(machines)[1:]):
        world.start(key)
    return world, list(machines.values())


def _weather(rng: Random) -> Weather:
    """From fair to foul."""
    worst = rng.choice([0.0, 0.02, 0.1])
    return Weather(drop=worst, repeat=worst, late=2 * worst, unconfirmed=worst / 2)


# What goes wrong -------------------------------------------------------------------------------

# Launchers are one to a machine.
_REPLICATED = ("experiment", "suggestion", "metrics_collector", "early_stopping")


async def _inject(world: World, machines: list[Machine], rng: Random, count: int) -> None:
    """Faults at random times, until so many have happened."""
    while world.faults < count:
        await world.clock.sleep(rng.expovariate(1 / _FAULT_INTERVAL_S))
        # Nobody may live just now.
        if world.processes:
            _go_wrong(world, machines, rng, rng.choice(world.processes))


def _go_wrong(world: World, machines: list[Machine], rng: Random, key: str) -> None:
    match rng.randrange(11):
        case 0 | 1 | 2 | 3:
            world.doom(key, calls=rng.randrange(40), away_s=rng.uniform(0.1, 3.0))
        case 4:
            world.crash(key, away_s=rng.uniform(0.1, 3.0))
        case 5:
            world.retire(key, away_s=rng.uniform(0.1, 1.0))
        case 6:
            world.cut_bus(key, for_s=rng.uniform(0.5, 8.0))
        case 7:
            world.take_store_away(for_s=rng.uniform(0.5, 4.0))
        case 8:
            world.wipe_bus()
        case 9:
            machine = rng.choice(machines)
            machine.reboot(world) if rng.random() < 0.2 else _lose_one(world, machine, rng)
        case _:
            for each in world.processes:
                world.crash(each, away_s=rng.uniform(0.1, 2.0))


def _lose_one(world: World, machine: Machine, rng: Random) -> None:
    place = machine.place
    alive = [run for run in sorted(place.starts) if place.status(run).state is RunState.RUNNING]
    if alive:
        world.faults += 1
        place.lose(rng.choice(alive))


# What people do --------------------------------------------------------------------------------


async def _operate(world: World, seed: int, story: Story, rng: Random) -> None:
    """Somebody cannot leave it alone: suspends, resumes, narrows and widens the first one."""
    if not story.operated or rng.random() < 0.5:
        return
    object_ = experiment_object(story.names[0], seed, story)
    for number, change in enumerate(_CHANGES):
        await world.clock.sleep(rng.uniform(0.0, 2.0))
        object_ = {**object_, "spec": {**object_["spec"], **change}}
        await _post(world, object_, f"operator-{seed}-{number}")


_CHANGES: tuple[Mapping[str, Any], ...] = (
    {"parallelTrialCount": MOST_PARALLEL},
    {"suspend": True},
    {"parallelTrialCount": 2},
    {"suspend": False},
    {"parallelTrialCount": PARALLEL},
)


async def post_all(world: World, seed: int, story: Story) -> None:
    """Ask for the experiments, as a gateway does."""
    replies = await asyncio.gather(
        *(
            _post(world, experiment_object(name, seed, story), f"{name}-{seed}")
            for name in story.names
        )
    )
    for reply in replies:
        if not reply.accepted:
            raise Refused([])


async def _post(world: World, experiment: Mapping[str, Any], command_id: str) -> CommandReply:
    subject = subjects.command(NAMESPACE, experiment["metadata"]["name"], Verb.APPLY.value)
    command = Command(id=command_id, object=dict(experiment))
    return CommandReply.from_bytes(await world.command(subject, command.to_bytes()))


async def _wait_for_ends(world: World, count: int) -> list[Experiment]:
    while True:
        if world.failures:
            raise world.failures[0]
        experiments = _experiments(world)
        if len(experiments) == count and all(it.ended for it in experiments):
            return experiments
        await world.clock.sleep(_POLL_S)


def _experiments(world: World) -> list[Experiment]:
    return [EXPERIMENT.decode(it) for it in world.store.documents("experiments")]


# What is tuned ---------------------------------------------------------------------------------


def experiment_object(name: str, seed: int, story: Story) -> dict[str, Any]:
    """Doubles at random; with early stopping; a finite space; a population; rungs."""
    spec: dict[str, Any] = {
        "parallelTrialCount": story.parallel,
        "maxTrialCount": story.trials,
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
    if name == "population":
        spec["algorithm"]["algorithmName"] = "pbt"
        spec["algorithm"]["algorithmSettings"] += [
            {"name": "n_population", "value": "5"},
            {"name": "truncation_threshold", "value": "0.4"},
        ]
    if name in ("asha", "hyperband"):
        spec["algorithm"]["algorithmName"] = name
        spec["algorithm"]["algorithmSettings"] += [
            {"name": "r_l", "value": "27"},
            {"name": "resource_name", "value": "epochs"},
        ]
        epochs = {
            "name": "epochs",
            "parameterType": "int",
            "feasibleSpace": {"min": "1", "max": "1"},
        }
        spec["parameters"].append(epochs)
    if name == "finite":
        spec["parameters"] = [
            {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "11"}},
            {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
        ]
    workers = {"annotations": {"trialbus.io/trials-by": "workers"}} if story.workers else {}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": NAMESPACE, **workers},
        "spec": spec,
    }
