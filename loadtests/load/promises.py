"""What must hold whatever the load: read from the store when all has come to its end."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.load.scenario import Group, Scenario
from loadtests.stack import Stack
from trialbus.contracts.collections import CHUNKS, EXPERIMENTS, TRIALS
from trialbus.ports.store import Query

ENDED = ("Succeeded", "Failed")
# Of a trial that its experiment took back.
TAKEN_BACK = "Killed"
STOPPED = "ExperimentStopped"
_TRIAL_FIELDS = ("index", "phase", "value", "created_at", "completed_at", "finished", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the store has of the experiments. ended_at: of all trials, in order. broken: each
    promise that was, in words. late_to_early: of the largest experiment, see `late_to_early`."""

    experiments: int
    first_created_at: float
    ended_at: tuple[float, ...]
    points: int
    late_to_early: float | None
    broken: tuple[str, ...]


async def examine(stack: Stack, scenario: Scenario, told: Mapping[str, int]) -> Finding:
    """told: results that workers know to be accepted, by experiment."""
    groups = {group.name: group for group in scenario.experiments}
    ended_at: list[float] = []
    broken: list[str] = []
    largest: Sequence[Mapping[str, Any]] = ()
    points = 0
    experiments = await stack.store.find(EXPERIMENTS.name, Query())
    for experiment in experiments:
        name, uid = experiment["name"], experiment["_id"]
        group = groups[name.split("-")[0]]
        trials = await stack.of(TRIALS.name, uid, *_TRIAL_FIELDS)
        problems = list(budget_problems(experiment, trials))
        problems += told_problems(trials, told.get(name, 0))
        if group.points is not None:
            found = await _points(stack, uid)
            points += found
            problems += points_problems(group, trials, found)
        broken += [f"{name}: {problem}" for problem in problems]
        ended_at += [it["completed_at"] for it in trials if it["completed_at"] is not None]
        largest = max(largest, trials, key=len)
    return Finding(
        experiments=len(experiments),
        first_created_at=min(it["created_at"] for it in experiments),
        ended_at=tuple(sorted(ended_at)),
        points=points,
        late_to_early=late_to_early(largest),
        broken=tuple(broken),
    )


def budget_problems(
    experiment: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]
) -> Iterable[str]:
    """Exact budgets, and every trial at its end with its metric."""
    spec, stopped = experiment["spec"], reason_of(experiment) == STOPPED
    budget = spec["max_trial_count"]
    if experiment["phase"] not in ENDED:
        yield f"has not ended: {experiment['phase']} ({reason_of(experiment)})"
    if len(trials) > budget or (len(trials) < budget and not stopped):
        yield f"{len(trials)} trials of {budget}"
    if sorted(it["index"] for it in trials) != list(range(len(trials))):
        yield "indexes of trials have gaps or repeats"
    if (most := most_at_once(trials)) > spec["parallel_trial_count"]:
        yield f"{most} trials at once, {spec['parallel_trial_count']} allowed"
    phases = Counter(it["phase"] for it in trials)
    allowed = {"Succeeded", TAKEN_BACK} if stopped else {"Succeeded"}
    if other := {phase: count for phase, count in phases.items() if phase not in allowed}:
        yield f"trials ended otherwise: {other}"
    if experiment["counts"]["succeeded"] != phases["Succeeded"]:
        yield f"counts {experiment['counts']['succeeded']} of {phases['Succeeded']} successes"
    if without := sum(it["phase"] == "Succeeded" and it["value"] is None for it in trials):
        yield f"{without} trials succeeded without their metric"


def reason_of(experiment: Mapping[str, Any]) -> str:
    """Of its last condition."""
    conditions = experiment["conditions"]
    return str(conditions[-1]["reason"]) if conditions else ""


def told_problems(trials: Sequence[Mapping[str, Any]], told: int) -> list[str]:
    """A result that was accepted is there; those on the way when people went may be, too."""
    there = sum(it["phase"] == "Succeeded" for it in trials)
    return [f"{told} results were accepted, {there} are there"] if there < told else []


def points_problems(group: Group, trials: Sequence[Mapping[str, Any]], found: int) -> list[str]:
    wanted = (group.points or 0) * sum(it["phase"] == "Succeeded" for it in trials)
    return [] if found == wanted else [f"{found} metric points of {wanted}"]


def most_at_once(trials: Sequence[Mapping[str, Any]]) -> int:
    """Open at the same instant. An end and the opening that it makes room for are one commit, and
    have one time."""
    steps = [(it["created_at"], 1) for it in trials]
    steps += [(it["completed_at"], -1) for it in trials if it["completed_at"] is not None]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def late_to_early(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """How long the last twentieth of the ends took, beside the second twentieth; None of fewer
    than 1,000: work for a trial must not grow with the experiment."""
    at = {it["finished"]: it["completed_at"] for it in trials if it["finished"]}
    count, part = len(at), len(at) // 20
    if count < 1000 or sorted(at) != list(range(1, count + 1)):
        return None
    early = at[2 * part] - at[part]
    return (at[count] - at[count - part]) / early if early > 0 else None


async def _points(stack: Stack, uid: str) -> int:
    chunks = await stack.of(CHUNKS.name, uid, "series")
    return sum(len(series["values"]) for chunk in chunks for series in chunk["series"])
