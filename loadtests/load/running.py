"""One run of a scenario: a stack of its own, people in a process of their own, and what they and
the services say of it."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from loadtests.load import measures, profiling, promises
from loadtests.load.curves import curves
from loadtests.load.measures import Seen
from loadtests.load.plan import Plan, read_told, read_windows
from loadtests.load.promises import ENDED
from loadtests.load.results import MAX_TOLD, Run
from loadtests.load.sampling import Sampler
from loadtests.load.scenario import Group, Scenario
from loadtests.load.slowing import slow_store
from loadtests.load.windows import Window, merged
from loadtests.stack import NAMESPACE, Stack, command, experiment, running_stack
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.ports.store import Query

ROOT = Path(__file__).parents[2]
BENCH_PYTHON = Path(sys.prefix) / "bench" / "bin" / "python"
SAMPLES = 240
MIN_SAMPLE_S, MAX_SAMPLE_S = 1.0, 10.0
LOOK_S = 1.0
# To go, people finish the call that they are in.
GO_WITHIN_S = 60.0
# At rest at the end, so that what is freed late is seen.
REST_S = 3.0


class LoadFailed(RuntimeError):
    """The process that makes the load ended by itself. Its words are on the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """scale, seconds: as of `Scenario.scaled`. profiles: folder; with it services are looked into,
    meanwhile."""

    scale: float = 1.0
    seconds: float | None = None
    profiles: Path | None = None


async def run(whole: Scenario, options: Options) -> Run:
    """Raises LoadFailed; every other trouble is in the run's figures."""
    scenario = whole.scaled(options.scale, options.seconds)
    at, load = datetime.now(UTC), os.getloadavg()[0]
    with slow_store(scenario.store_delay_ms) as environment:
        async with running_stack({**environment, **_settings(scenario)}) as stack:
            seen, windows = await _under_load(stack, scenario, options.profiles)
    problems = {
        f"{name}: {text}": count
        for name, cell in seen.cells.items()
        for text, count in cell.problems.most_common(MAX_TOLD)
    }
    return Run(
        scenario=scenario.name,
        digest=scenario.digest,
        at=at.isoformat(timespec="seconds"),
        revision=await asyncio.to_thread(_revision),
        cores=os.cpu_count() or 1,
        load=load,
        scale=options.scale,
        seconds=seen.people_s,
        people=sum(it.count for it in scenario.people),
        requests=sum(cell.count for cell in seen.cells.values()),
        experiments=seen.finding.experiments,
        trials=len(seen.finding.ended_at),
        figures=measures.measured(seen),
        curves=curves(windows, seen.samples),
        broken=seen.finding.broken[:MAX_TOLD],
        problems=problems,
    )


def _settings(scenario: Scenario) -> Mapping[str, str]:
    if scenario.kept_event_mb is None:
        return {}
    return {"TRIALBUS_NATS_EVENT_BYTES": str(scenario.kept_event_mb * 1_000_000)}


async def _under_load(
    stack: Stack, scenario: Scenario, profiles: Path | None
) -> tuple[Seen, list[Window]]:
    sampler = Sampler(stack.status)
    await sampler.sample()
    every = min(MAX_SAMPLE_S, max(MIN_SAMPLE_S, scenario.seconds / SAMPLES))
    sampling = asyncio.create_task(sampler.watch(every))
    spent_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_at, began = time.time(), time.monotonic()
    plan = await _plan(stack, scenario)
    async with profiling.while_looked_into(scenario, sampler.pids, profiles):
        await _people(stack, scenario, plan)
    people_s = time.monotonic() - began
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    await _stop_the_open_ended(stack, scenario)
    to_end_s = await _until_all_ended(stack, scenario.drain)
    to_no_lag_s = await _until_no_lag(sampler, scenario.drain)
    await asyncio.sleep(REST_S)
    sampling.cancel()
    with suppress(asyncio.CancelledError):
        await sampling
    await sampler.sample()
    await sampler.close()
    finding = await promises.examine(stack, scenario, read_told(plan.output))
    restarted = await _restarted(stack, sampler)
    windows = read_windows(plan.output)
    seen = Seen(
        scenario=scenario,
        began_at=began_at,
        people_s=people_s,
        cells=merged(windows),
        samples=sampler.samples,
        last=sampler.last,
        finding=replace(finding, broken=(*finding.broken, *restarted)),
        to_end_s=to_end_s,
        to_no_lag_s=to_no_lag_s,
        load_s=spent.ru_utime + spent.ru_stime - spent_before.ru_utime - spent_before.ru_stime,
    )
    return seen, windows


async def _plan(stack: Stack, scenario: Scenario) -> Plan:
    """With the experiments that are there before people come."""
    objects = {group.name: _object(group, group.name) for group in scenario.experiments}
    names: dict[str, list[str]] = {}
    for group in scenario.experiments:
        names[group.name] = group.names()
        for name in names[group.name]:
            await stack.apply(_object(group, name))
    return Plan(
        http=stack.status["http"],
        nats=stack.status["nats"],
        namespace=NAMESPACE,
        seconds=scenario.seconds,
        come_within=scenario.come_within,
        window=max(1.0, scenario.seconds / SAMPLES),
        output=stack.folder / "windows.jsonl",
        people=scenario.people,
        names=names,
        objects=objects,
    )


def _object(group: Group, name: str) -> dict[str, Any]:
    found = experiment(name, group.command, trials=group.trials, parallel=group.parallel)
    found["spec"]["parameters"][0]["feasibleSpace"] = {
        "min": str(group.low),
        "max": str(group.high),
    }
    if group.by == "workers":
        found["metadata"]["annotations"] = {"trialbus.io/trials-by": "workers"}
        del found["spec"]["trialTemplate"]
    return found


async def _people(stack: Stack, scenario: Scenario, plan: Plan) -> None:
    """From their coming until they have gone."""
    told = stack.folder / "plan.json"
    await asyncio.to_thread(told.write_text, plan.model_dump_json())
    swarm = await asyncio.create_subprocess_exec(
        str(BENCH_PYTHON), "-m", "loadtests.load.swarm", str(told), cwd=ROOT
    )
    try:
        if scenario.until == "experiments":
            await _until_ended_or_gone(stack, swarm)
            if swarm.returncode is None:
                swarm.send_signal(signal.SIGTERM)
        await asyncio.wait_for(swarm.wait(), scenario.seconds + GO_WITHIN_S)
    finally:
        if swarm.returncode is None:
            swarm.kill()
            await swarm.wait()
    if swarm.returncode != 0:
        raise LoadFailed(f"the process that makes the load ended with {swarm.returncode}")


async def _until_ended_or_gone(stack: Stack, swarm: Process) -> None:
    gone = asyncio.create_task(swarm.wait())
    while await _living(stack):
        if (await asyncio.wait([gone], timeout=LOOK_S))[0]:
            return
    gone.cancel()


async def _stop_the_open_ended(stack: Stack, scenario: Scenario) -> None:
    """Experiments whose workers have gone would wait for ever."""
    workers = [name for it in scenario.experiments if it.by == "workers" for name in it.names()]
    async with httpx.AsyncClient(base_url=stack.status["http"], timeout=60) as client:
        for experiment_ in await _living(stack):
            if experiment_["name"] in workers:
                path = f"/v1/namespaces/{NAMESPACE}/experiments/{experiment_['name']}/stop"
                (await client.post(path)).raise_for_status()


async def _until_all_ended(stack: Stack, within_s: float) -> float | None:
    began = time.monotonic()
    while await _living(stack):
        if time.monotonic() - began > within_s:
            return None
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


async def _until_no_lag(sampler: Sampler, within_s: float) -> float | None:
    began = time.monotonic()
    while (await sampler.sample()).lag != 0:
        if time.monotonic() - began > within_s:
            return None
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


async def _living(stack: Stack) -> Sequence[Mapping[str, Any]]:
    found = await stack.store.find(EXPERIMENTS.name, Query(fields=("name", "phase")))
    return [it for it in found if it["phase"] not in ENDED]


async def _restarted(stack: Stack, sampler: Sampler) -> list[str]:
    """What did not live through it, and services that were asked and did not answer."""
    told = await command("status", "--json", "--data-dir", str(stack.folder))
    status = json.loads(told)
    parts = {**status["services"], **status["servers"]}
    broken = [f"{name} was started again" for name, it in parts.items() if it["restarts"]]
    silent = {name for sample in sampler.samples for name in sample.silent}
    return broken + [f"{name} did not answer for its metrics" for name in sorted(silent)]


def _revision() -> str:
    """Of the sources, as git has it; empty outside a repository."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
