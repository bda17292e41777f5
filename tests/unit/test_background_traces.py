"""What works on behind the request that happened to begin it is in nobody's trace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.errors import Transient
from trialbus.kernel.traces import TraceContext
from trialbus.ports.cluster import ClusterApi, Resource
from trialbus.ports.launcher import ObjectPlan
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.gateway_world import gateway_world
from trialbus.testkit.waits import until
from trialbus_gateway.app.changes_life import Life
from trialbus_trial_launcher.adapters.kubernetes import ClusterLauncher
from trialbus_trial_launcher.adapters.kubernetes.log_stream import LogStream

CALLER = TraceContext(trace_id="a" * 32, span_id="1" * 16)
PODS = Resource(group="", version="v1", kind="Pod", plural="pods", namespaced=True)


@pytest.fixture
def tracing() -> SdkTracing:
    return SdkTracing("gateway", SimpleSpanProcessor(InMemorySpanExporter()), ratio=1.0)


class Away:
    """A cluster that fails at whatever it is asked, and remembers in whose trace."""

    def __init__(self, tracing: SdkTracing) -> None:
        self.tracing = tracing
        self.asked: list[str | None] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*_args: object, **_options: object) -> Any:
            self._fail()

        return call

    @asynccontextmanager
    async def follow_log(self, *_args: object, **_options: object) -> AsyncIterator[None]:
        self._fail()
        yield

    async def close(self) -> None:
        """Nothing is open."""

    def _fail(self) -> None:
        self.asked.append(self.tracing.kept_trace())
        raise Transient("the cluster is away")


async def test_a_launcher_follows_and_creates_outside_of_the_span_that_asked_for_it(
    tracing: SdkTracing,
) -> None:
    away = Away(tracing)
    launcher = ClusterLauncher(
        cast(ClusterApi, away),
        SystemClock(),
        Telemetry("trial_launcher").log,
        instance="trialbus",
        namespaces=(None,),
        outside=tracing.outside,
    )
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"}}
    plan = ObjectPlan(run_id="u.0.1", body=body, created_at=1.0, success="", failure="")
    with tracing.span("handle", parent=CALLER):
        launcher.views.follow_objects(PODS)
        await until(lambda: away.asked, "the view")
        before = len(away.asked)
        await launcher.start([plan])
        await until(lambda: len(away.asked) > before, "the creation")
        await launcher.close()
    assert set(away.asked) == {None}


async def test_a_log_is_followed_outside_of_the_span_of_its_first_reader(
    tracing: SdkTracing,
) -> None:
    away = Away(tracing)
    stream = LogStream(
        cast(ClusterApi, away), SystemClock(), "team", "p", "main", lambda: False, tracing.outside
    )
    with tracing.span("answer log", parent=CALLER):
        await stream.read(0, 100)
        await until(lambda: away.asked, "the connection")
        await stream.close()
    assert set(away.asked) == {None}


async def test_the_index_of_changes_lives_outside_of_the_request_that_began_it(
    tracing: SdkTracing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    live = Life.live

    async def spied(life: Life, begun: "asyncio.Future[None]") -> None:
        seen.extend((tracing.current(), tracing.kept_trace()))
        await live(life, begun)

    monkeypatch.setattr(Life, "live", spied)
    async with gateway_world(tmp_path) as world:
        world.parts.telemetry.tracing = tracing
        with tracing.span("GET", parent=CALLER):
            await world.changes.index()
    assert seen == [None, None]
