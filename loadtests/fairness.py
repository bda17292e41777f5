"""Who waits for whom: free places with points drawn ahead, and a slow algorithm beside others."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.stack import NAMESPACE, Stack, experiment, running_stack
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.collections import ANSWERS, TRIALS
from trialbus.contracts.envelope import decode_event
from trialbus.ports.store import Query

Measured = Mapping[str, float]

_LONG_S = 300.0
_QUIET_S = 2.0

# Of a free place: as many trials run at a time, and so many in all.
_IN_FLIGHT = 8
_SLOT_TRIALS = 200
_SLOW = {"algorithm": {"algorithmName": "slow-points"}}
_PACKAGE = "slow_points"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """Experiments beside the slow one. pause_s: what their trials take, at the least and at the
    most, so that they end one by one and leave the processors to the services."""

    algorithm: str
    count: int
    trials: int
    pause_s: tuple[int, int]


_LIGHT = _Crowd(algorithm="random", count=99, trials=14, pause_s=(2, 6))
_HEAVY = _Crowd(algorithm="tpe", count=20, trials=12, pause_s=(1, 3))


async def free_slot() -> Measured:
    """With points ahead of need: from the commit of a trial's end to the opening of the next."""
    figures = {}
    async with running_stack() as stack:
        for algorithm in ("random", "tpe"):
            settings = {"algorithm": {"algorithmName": algorithm}}
            # x is in [0, 1]: trials take 0.2 to 1.2 s and end one by one.
            argv = ("/bin/sh", "-c", "sleep 0.2; sleep ${trialParameters.x}; echo loss=0.5")
            object_ = experiment(
                f"slots-{algorithm}",
                argv,
                trials=_SLOT_TRIALS,
                parallel=_IN_FLIGHT,
                settings=settings,
            )
            uid = await stack.apply(object_)
            await stack.ended(uid, within_s=_LONG_S)
            trials = await stack.of(
                TRIALS.name, uid, "index", "finished", "created_at", "completed_at"
            )
            waits = _waits_for_places(trials)
            figures[f"free slot, {algorithm}, p50"] = _share(waits, 0.5)
            figures[f"free slot, {algorithm}, p99"] = _share(waits, 0.99)
    return figures


def _waits_for_places(trials: Sequence[Mapping[str, Any]]) -> list[float]:
    """The k-th end makes the place that the trial `parallel + k - 1` takes."""
    ended = {int(it["finished"]): float(it["completed_at"]) for it in trials}
    return [
        float(it["created_at"]) - ended[int(it["index"]) - _IN_FLIGHT + 1]
        for it in trials
        if it["index"] >= _IN_FLIGHT
    ]


async def slow_beside_light() -> Measured:
    """One optimiser that takes 5 s a point, and 99 random searches."""
    return await _beside_a_slow_one(_LIGHT)


async def slow_beside_heavy() -> Measured:
    """The same, and 20 experiments whose algorithm computes in worker processes, too."""
    return await _beside_a_slow_one(_HEAVY)


async def _beside_a_slow_one(crowd: _Crowd) -> Measured:
    async with _slow_package() as path, running_stack({"PYTHONPATH": str(path)}) as stack:
        argv = ("/bin/echo", "loss=${trialParameters.x}")
        slow = await stack.apply(experiment("slow", argv, trials=1000, parallel=2, settings=_SLOW))
        uids = [await stack.apply(it) for it in _experiments(crowd)]
        for uid in uids:
            await stack.ended(uid, within_s=_LONG_S)
        waits = await _waits_for_points(stack, set(uids))
        answers = await stack.store.find(ANSWERS.name, Query(prefix=f"{slow}:"))
    if not answers or any(it["refused"] for it in answers):
        raise RuntimeError("the slow experiment was given no points")
    if len(waits) < len(uids):
        raise RuntimeError(f"only {len(waits)} requests were seen")
    name = f"request to proposed beside a slow one, {crowd.algorithm}"
    return {f"{name}, p50": _share(waits, 0.5), f"{name}, p99": _share(waits, 0.99)}


def _experiments(crowd: _Crowd) -> list[dict[str, Any]]:
    settings = {"algorithm": {"algorithmName": crowd.algorithm}}
    script = "sleep ${trialParameters.x}; echo loss=${trialParameters.x}"
    low, high = map(str, crowd.pause_s)
    objects = []
    for number in range(crowd.count):
        name, argv = f"{crowd.algorithm}-{number}", ("/bin/sh", "-c", script)
        object_ = experiment(name, argv, trials=crowd.trials, parallel=1, settings=settings)
        object_["spec"]["parameters"][0]["feasibleSpace"] = {"min": low, "max": high}
        objects.append(object_)
    return objects


async def _waits_for_points(stack: Stack, uids: set[str]) -> list[float]:
    """Of each request, from its commit to its answer, as the events of the stream have it."""
    asked: dict[tuple[str, int], float] = {}
    answered: dict[tuple[str, int], float] = {}
    options = ConnectionOptions(servers=[stack.status["nats"]], name="loadtests")
    bus = await NatsBus.open(options)
    try:
        async with bus.tail(subjects.events(namespace=NAMESPACE), from_start=True) as messages:
            while True:
                try:
                    message = await asyncio.wait_for(anext(messages), _QUIET_S)
                except TimeoutError:
                    break
                event = decode_event(message)
                times = {"suggestion.requested": asked, "suggestion.proposed": answered}.get(
                    event.type
                )
                if times is not None and event.uid in uids:
                    times.setdefault((event.uid, int(event.data["number"])), event.at)
    finally:
        await bus.close()
    return [answered[key] - at for key, at in asked.items() if key in answered]


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


@asynccontextmanager
async def _slow_package() -> AsyncIterator[Path]:
    """A folder as `pip install` would leave it."""
    with tempfile.TemporaryDirectory(prefix="trialbus-package-") as folder:
        await asyncio.to_thread(_install, Path(folder))
        yield Path(folder)


def _install(folder: Path) -> None:
    shutil.copy(Path(__file__).with_name(f"{_PACKAGE}.py"), folder)
    information = folder / f"{_PACKAGE}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: slow-points\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        f"[trialbus.algorithms]\nslow-points = {_PACKAGE}:DESCRIPTION\n"
    )
