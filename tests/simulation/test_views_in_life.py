"""What people are shown while an experiment lives: at every moment objects that keep to the
models, with the conditions of Katib's state machines, in Katib's order."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.katib import models
from trialbus.contracts.katib.views import experiment_view, suggestion_view, trial_view
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import RunPlan
from trialbus.testkit.law_probes import InSteadyState, experiments_of
from trialbus.testkit.memory_launcher import Script
from trialbus.testkit.scenario import FAIR, NAMESPACE, Machine, experiment_object
from trialbus.testkit.world import World

_LOOK_S = 0.25
_LIMIT_S = 400.0
_TRIALS = 12
MODELS: dict[str, type[models.Wire]] = {
    "Experiment": models.Experiment,
    "Suggestion": models.Suggestion,
    "Trial": models.Trial,
}
Seen = dict[str, list[str]]


def in_many_ways(_seed: int, run_id: str, _plan: RunPlan) -> Script:
    """By the trial's index: some fail, some say nothing, some are worse than the others."""
    index = int(run_id.split(".")[1])
    if index % 4 == 1:
        return Script(duration_s=1.0, exit_code=1)
    if index % 4 == 2:
        return Script(output=((0.0, b"nothing to see\n"),), duration_s=1.0)
    loss = 0.5 if index < 8 else 5.0
    lines = tuple((step * 0.5, f"loss={loss}\n".encode()) for step in range(6))
    return Script(output=lines, duration_s=3.5)


STORY = replace(FAIR, program=in_many_ways, names=(), limit_s=2000.0)


async def apply(world: World, **spec: Any) -> None:
    made = experiment_object("stopped", 1, STORY)
    made["spec"] |= {"parallelTrialCount": 2, "maxTrialCount": _TRIALS, **spec}
    subject = subjects.command(NAMESPACE, "stopped", Verb.APPLY.value)
    command = Command(id=f"look-{spec}", object=made)
    reply = CommandReply.from_bytes(await world.command(subject, command.to_bytes()))
    assert reply.accepted, reply


def newest_runs(world: World) -> dict[int, Run]:
    runs = [RUN.decode(document) for document in world.store.documents("runs")]
    return {run.index: run for run in sorted(runs, key=lambda run: run.attempt)}


def all_views(world: World, state: Experiment) -> list[dict[str, Any]]:
    """The Experiment, its Suggestion and its trials."""
    runs = newest_runs(world)
    decoded = [TRIAL.decode(document) for document in world.store.documents("trials")]
    trials: list[Trial] = sorted(decoded, key=lambda trial: trial.index)
    return [
        experiment_view(state, running={index for index, run in runs.items() if run.started_at}),
        suggestion_view(state, trials),
        *(trial_view(trial, state, runs.get(trial.index)) for trial in trials),
    ]


def look(world: World, state: Experiment, seen: Seen) -> None:
    """Check what is shown now, and note the conditions of each object when they have changed."""
    for view in all_views(world, state):
        kind = view["kind"]
        MODELS[kind].model_validate(view)
        conditions = view["status"].get("conditions", ())
        shown = " ".join(
            it["type"] if it["status"] == "True" else f"-{it['type']}" for it in conditions
        )
        story = seen[f"{kind} {view['metadata']['name']}"]
        if story[-1:] != [shown]:
            story.append(shown)


async def watch(world: World, seen: Seen) -> None:
    for _ in range(int(_LIMIT_S / _LOOK_S)):
        [state] = experiments_of(world)
        look(world, state, seen)
        if state.ended:
            return
        await world.clock.sleep(_LOOK_S)
    raise AssertionError("it did not end")


# "-Running": the condition Running is False.
EXPERIMENT_STORIES = [
    ["Created", "Created Running", "Created -Running Succeeded"],
    ["Created Running", "Created -Running Succeeded"],
]
SUGGESTION_END = "Created -Running -DeploymentReady Succeeded"
TRIAL_ENDS = {
    "Created -Running Succeeded",
    "Created -Running Failed",
    "Created -Running MetricsUnavailable",
    "Created Running EarlyStopped",
}
# A step may have passed between two looks.
TRIAL_STORY = ["Created", "Created Running"]


def test_objects_keep_to_the_models_and_conditions_to_katibs_order(
    in_steady_state: InSteadyState,
) -> None:
    async def act(world: World, _machines: list[Machine]) -> Seen:
        seen: Seen = defaultdict(list)
        await apply(world)
        await watch(world, seen)
        return seen

    seen = in_steady_state(act, story=STORY)
    assert seen.pop("Experiment stopped") in EXPERIMENT_STORIES
    assert seen.pop("Suggestion stopped")[-1] == SUGGESTION_END
    assert len(seen) == _TRIALS
    assert {story[-1] for story in seen.values()} == TRIAL_ENDS
    for story in seen.values():
        assert [it for it in TRIAL_STORY if it in story[:-1]] == story[:-1]
