"""The trace of a trial on a cluster: what its pod is told of it, and what is told of the trial."""

from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.cluster.cluster_worlds import ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.outcomes import RUNS_ON
from tests.cluster.double.server import Double

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.traces import kept, run_span
from trialbus.ports.tracing import Tracing
from trialbus.testkit.waits import until

Object = dict[str, Any]
WRAPPED = {"wrapper_image": "wrapper:1", "trial_gateway_url": "http://gateway.trialbus:8080"}


async def pods_containers(cluster: ClusterWorld) -> tuple[Object, list[Object]]:
    """The trial's own, and those before it."""
    await until(lambda: cluster.objects("pods"), "a pod")
    [pod] = cluster.objects("pods")
    [own] = pod["spec"]["containers"]
    return own, pod["spec"].get("initContainers") or []


def variables(container: Object) -> dict[str, str]:
    return {it["name"]: it.get("value", "") for it in container.get("env") or ()}


@pytest.mark.parametrize("settings", [WRAPPED, {}])
async def test_a_pods_command_is_told_the_span_of_its_run(
    double: Double, settings: dict[str, str]
) -> None:
    exporter = InMemorySpanExporter()

    def tracing(process: str) -> Tracing:
        return SdkTracing(process, SimpleSpanProcessor(exporter), ratio=1.0)

    theirs = job()
    container = theirs["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "TRACEPARENT", "value": "theirs"}]
    async with cluster_world(
        double, settings=settings, run=lambda _: RUNS_ON, tracing=tracing
    ) as cluster:
        await cluster.apply(wanted("traced", theirs))
        own, before = await pods_containers(cluster)
        state, [run] = cluster.experiment("traced"), cluster.runs()
        trace = kept(state.traceparent)
        assert trace is not None
        span = run_span(trace, state.id, run.index, run.attempt)
        named = [it["value"] for it in own["env"] if it["name"] == "TRACEPARENT"]
        assert named == [str(span)]
        assert (own["command"][0] == "/trialbus/wrap") == bool(settings)
        assert all("TRACEPARENT" not in variables(it) for it in before)
        await cluster.stop("traced")
        await cluster.ended("traced")

        def spans_of_run() -> list[str]:
            return [
                f"{it.context.span_id:016x}"
                for it in exporter.get_finished_spans()
                if it.name == "run" and it.context is not None
            ]

        await until(lambda: span.span_id in spans_of_run(), "the span of the run")


async def test_without_a_trace_a_pods_command_is_told_of_none(double: Double) -> None:
    async with cluster_world(double, settings=WRAPPED, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("untraced", job()))
        own, _ = await pods_containers(cluster)
        assert "TRACEPARENT" not in variables(own)
