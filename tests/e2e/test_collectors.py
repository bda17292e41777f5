"""Every kind of collector on a real stack, whose launcher is killed in the middle."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import CHUNK
from trialbus.ports.store import Query
from trialbus.testkit.real_stack import RealStack, experiment_object, find_experiment
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

TRIALS = Path(__file__).parents[1] / "data" / "trials"
LOG, EVENTS = "/var/log/katib/metrics.log", "/var/log/katib/tfevent/"
EVERYTHING = [float(step) for step in range(30)]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path, scrape_interval_s="0.05")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def reporting(name: str, way: str, where: str, collector: dict[str, Any]) -> dict[str, Any]:
    command = ["python", str(TRIALS / "reporting.py"), way, where]
    experiment = experiment_object(name, command)
    # The parameter has to be used.
    pod = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    pod["containers"][0]["env"] = [{"name": "X", "value": "${trialParameters.x}"}]
    experiment["spec"]["metricsCollectorSpec"] = collector
    return experiment


def collectors() -> list[dict[str, Any]]:
    file = {"fileSystemPath": {"kind": "File", "path": LOG}}
    json = {"fileSystemPath": {"kind": "File", "path": LOG, "format": "JSON"}}
    forwarding = {
        "name": "forward",
        "image": "none",
        "command": ["python", str(TRIALS / "forwarding.py"), LOG, "$(TRIALBUS_GRPC_ADDRESS)"],
    }
    return [
        reporting("file", "file", LOG, {"collector": {"kind": "File"}, "source": json}),
        reporting("events", "events", EVENTS, {"collector": {"kind": "TensorFlowEvent"}}),
        reporting(
            "endpoint",
            "endpoint",
            "$(TRIALBUS_METRICS_PORT)",
            {"collector": {"kind": "PrometheusMetric"}},
        ),
        reporting(
            "custom",
            "file",
            LOG,
            {"collector": {"kind": "Custom", "customCollector": forwarding}, "source": file},
        ),
    ]


async def values(stack: RealStack, name: str) -> list[float]:
    async with stack.store() as store:
        state = await find_experiment(store, name)
        if state is None:
            return []
        documents = await store.find(CHUNKS.name, Query(prefix=f"{state.id}.", order="_id"))
    chunks = [CHUNK.decode(document) for document in documents]
    return [value for chunk in chunks for series in chunk.series for value in series.values]


async def test_no_point_of_any_kind_is_lost_or_doubled_when_the_launcher_is_killed(
    stack: RealStack,
) -> None:
    names = []
    for experiment in collectors():
        names.append(experiment["metadata"]["name"])
        stack.apply(experiment)

    async def all_report() -> bool:
        return all([9.0 in await values(stack, name) for name in names])

    await until(all_report, "every kind reports while its trial runs", within_s=60.0)
    killed = stack.kill("trial_launcher")
    (stack.folder / "go").touch()
    await stack.returned("trial_launcher", killed)
    for name in names:
        await stack.ended(name)
        found = await values(stack, name)
        if name == "endpoint":
            # While nobody asks nothing is seen; but nothing twice, and the end.
            assert found == sorted(set(found))
            assert found[-1] == EVERYTHING[-1]
        else:
            assert found == EVERYTHING
        async with stack.store() as store:
            state = await find_experiment(store, name)
        assert state is not None
        assert state.counts.succeeded == 1
