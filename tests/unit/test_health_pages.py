"""/metrics in the format that the caller asks for; /readyz; metrics that are switched off."""

import os

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.registry import CollectorRegistry

from trialbus.adapters.http import health_app
from trialbus.kernel.traces import TraceContext
from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry

TRACE = TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
# As Debian's Prometheus 2.42 asks.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def telemetry() -> Telemetry:
    made = Telemetry("experiment")
    made.observe(metrics.GROUPS, 0.2, TRACE)
    made.add(metrics.CONFLICTS, 3)
    return made


async def get(
    path: str, registry: CollectorRegistry | None, accept: str = "*/*", *, ready: bool = True
) -> httpx.Response:
    app = health_app(lambda: ready, registry)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return await client.get(path, headers={"accept": accept})


async def test_prometheus_gets_openmetrics_with_the_trace_of_an_observation() -> None:
    page = await get("/metrics", telemetry().registry, PROMETHEUS)
    assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    read = read_openmetrics(page.text)  # type: ignore[no-untyped-call]
    families = {it.name: it for it in read}
    found = [
        (sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
        for sample in families["trialbus_group_handling_seconds"].samples
        if sample.exemplar is not None
    ]
    assert found == [("0.3", {"trace_id": TRACE.trace_id}, 0.2)]
    conflicts = families["trialbus_commit_conflicts"].samples
    # No `_created` beside it: one more series for each, which nobody reads.
    assert [(it.name, it.value) for it in conflicts] == [("trialbus_commit_conflicts_total", 3.0)]


@pytest.mark.parametrize(
    "accept", ["*/*", "", "text/html", "application/openmetrics-text; version=x"]
)
async def test_others_get_plain_text_without_exemplars(accept: str) -> None:
    page = await get("/metrics", telemetry().registry, accept)
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert TRACE.trace_id not in page.text
    families = {it.name: it for it in read_text(page.text)}
    assert families["trialbus_commit_conflicts"].samples[0].value == 3.0
    assert "trialbus_commit_conflicts_created" not in page.text


async def test_metrics_that_are_switched_off_are_no_page() -> None:
    page = await get("/metrics", None)
    assert page.status_code == 404
    assert "TRIALBUS_METRICS" in page.text


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_readiness_is_a_status(ready: bool, status: int) -> None:
    page = await get("/readyz", None, ready=ready)
    assert (page.status_code, page.json()) == (status, {"ready": ready, "pid": os.getpid()})
    assert (await get("/healthz", None, ready=ready)).json() == {"alive": True}
