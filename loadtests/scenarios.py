"""What is measured, one function per scenario: each returns its figures for one run."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from loadtests.stack import TRIALBUS, experiment, running_stack
from trialbus.contracts.collections import CHUNKS, RUNS, TRIALS

Measured = Mapping[str, float]

_ECHO = ("/bin/echo", "loss=${trialParameters.x}")
# A trial that notes when it ran, apart from everything that we say about it.
_NOTING = "date +%s.%N >> {probe}; echo loss=${{trialParameters.x}}"
_IDLE_S = 5.0
_LONG_S = 600.0
_STORM_LINES = 50_000
_STORM = "seq -f loss=%.0f {lines}"
_PACED = (
    "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); "
    "echo $(date -u +%Y-%m-%dT%H:%M:%S.%NZ) loss=$i; sleep {pause}; done"
)


async def start_and_end() -> Measured:
    """`trialbus run` on a folder that is there, without a stack: to the first trial, and from
    the last trial's end to the command's."""
    with tempfile.TemporaryDirectory(prefix="trialbus-bench-") as folder:
        await _run_noting(Path(folder), "warm-up")
        started, notes, ended = await _run_noting(Path(folder), "measured")
    return {"command to first trial": notes[0] - started, "last trial to end": ended - notes[-1]}


async def _run_noting(folder: Path, name: str) -> tuple[float, list[float], float]:
    probe = folder / f"{name}.times"
    argv = ["/bin/sh", "-c", _NOTING.format(probe=probe)]
    file = folder / f"{name}.json"
    file.write_text(json.dumps(experiment(name, argv, trials=6, parallel=3)))
    started = time.time()
    run = await asyncio.create_subprocess_exec(
        *TRIALBUS,
        "run",
        str(file),
        "--data-dir",
        str(folder / "data"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, errors = await run.communicate()
    ended = time.time()
    if run.returncode != 0:
        raise RuntimeError(f"trialbus run ended with {run.returncode}: {errors.decode()[-500:]}")
    return started, sorted(float(line) for line in probe.read_text().split()), ended


async def apply_to_first_trial() -> Measured:
    """With the stack up and warm."""
    async with running_stack() as stack:
        delays = []
        for name in ("warm-up", "measured"):
            probe = stack.folder / f"{name}.times"
            argv = ["/bin/sh", "-c", _NOTING.format(probe=probe)]
            started = time.time()
            uid = await stack.apply(experiment(name, argv, trials=3, parallel=3))
            await stack.ended(uid, within_s=60)
            delays.append(min(float(line) for line in probe.read_text().split()) - started)
    return {"apply to first trial": delays[-1]}


async def echo_trials(count: int) -> Measured:
    """Process trials of /bin/echo through all services, 8 at a time, each with its metric."""
    async with running_stack() as stack:
        uid = await stack.apply(experiment("echo", _ECHO, trials=count, parallel=8))
        ended = await stack.ended(uid, within_s=_LONG_S)
        if ended["counts"]["succeeded"] != count:
            raise RuntimeError(f"not all {count} trials succeeded: {ended['counts']}")
        trials = await stack.of(TRIALS.name, uid, "finished", "completed_at", "value")
        if any(trial["value"] is None for trial in trials):
            raise RuntimeError("a trial has no metric")
    at = {trial["finished"]: trial["completed_at"] for trial in trials}
    measured = {"trials a second": count / (at[count] - ended["created_at"])}
    if count >= 10_000:
        late = at[count] - at[count - 1000]
        measured["10,000th to 1,000th trial"] = late / (at[1500] - at[500])
    return measured


async def metric_storm() -> Measured:
    """Eight trials at once that print as fast as they can: points stored a second."""
    async with running_stack() as stack:
        argv = ["/bin/sh", "-c", _STORM.format(lines=_STORM_LINES) + "; : ${trialParameters.x}"]
        uid = await stack.apply(experiment("storm", argv, trials=8, parallel=8))
        await stack.ended(uid, within_s=_LONG_S)
        runs = await stack.of(RUNS.name, uid, "started_at")
        chunks = await stack.of(CHUNKS.name, uid, "stored_at", "series", "final", "summaries")
    points = sum(len(series["values"]) for chunk in chunks for series in chunk["series"])
    if points != 8 * _STORM_LINES:
        raise RuntimeError(f"{points} points stored of {8 * _STORM_LINES}")
    elapsed = max(it["stored_at"] for it in chunks) - min(it["started_at"] for it in runs)
    return {"metric points a second": points / elapsed}


async def line_to_point() -> Measured:
    """Eight trials that report 20 times a second: from the line to the stored point, p99."""
    async with running_stack() as stack:
        script = _PACED.format(lines=200, pause=0.05) + "; : ${trialParameters.x}"
        uid = await stack.apply(
            experiment("paced", ["/bin/sh", "-c", script], trials=8, parallel=8)
        )
        await stack.ended(uid, within_s=_LONG_S)
        chunks = await stack.of(CHUNKS.name, uid, "stored_at", "series")
    delays = sorted(
        chunk["stored_at"] - at
        for chunk in chunks
        for series in chunk["series"]
        for at in series["times"]
    )
    return {"line to stored point, p99": delays[int(len(delays) * 0.99)]}


async def idle_memory() -> Measured:
    """All processes after a 200-trial run, idle."""
    async with running_stack() as stack:
        uid = await stack.apply(experiment("two-hundred", _ECHO, trials=200, parallel=8))
        await stack.ended(uid, within_s=_LONG_S)
        await asyncio.sleep(_IDLE_S)
        return {"memory of all processes (PSS)": stack.pss_mb()}
