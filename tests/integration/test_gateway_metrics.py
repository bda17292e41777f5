"""What the gateway tells of its HTTP port: every request once, in few series."""

import asyncio
import random
import string
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.runtime import metrics
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.access_world import OURS, access_world
from trialbus.testkit.gateway_world import PATH, World, gateway_world, real_client
from trialbus.testkit.told_metrics import series, told
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.http_metrics import CLUSTER, REFUSED, ROUTE, UNMATCHED, Observing
from trialbus_gateway.app.port_metrics import ObservedHttp

EXPERIMENT = "/v1/namespaces/{namespace}/experiments/{name}"
WATCH = "/apis/kubeflow.org/v1beta1/experiments?watch=true&timeoutSeconds=30"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


def asked(world: World, route: str, method: str, code: int) -> float:
    telemetry = world.parts.telemetry
    return told(telemetry, metrics.HTTP, route=route, method=method, code=str(code))


async def test_a_request_is_told_by_its_route_and_answer(world: World) -> None:
    await world.apply("one")
    await world.apply("two")
    await world.get("/v1/namespaces/lab/experiments/one")
    await world.get("/v1/namespaces/lab/experiments/gone", 404)
    await world.get("/apis/kubeflow.org/v1beta1/namespaces/lab/experiments/two")
    assert asked(world, EXPERIMENT, "PUT", 201) == 2
    assert asked(world, EXPERIMENT, "GET", 200) == 1
    assert asked(world, EXPERIMENT, "GET", 404) == 1
    telemetry = world.parts.telemetry
    assert told(telemetry, metrics.HTTP) == 5
    routes = {it.labels["route"] for it in series(telemetry, metrics.HTTP)}
    assert len(routes) == 2
    assert all("{name}" in route for route in routes)
    assert told(telemetry, metrics.HTTP_IN_FLIGHT) == 0


async def test_random_requests_make_few_series(world: World) -> None:
    draw = random.Random(7)

    def word() -> str:
        return "".join(draw.choices(string.ascii_lowercase + string.digits + "-._~%é", k=12))

    known = [EXPERIMENT, "/v1/trials/{trial}", "/apis/{a}/{b}", "/api/v1/namespaces/{a}/pods/{b}"]
    methods = ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"]

    async def throw(rounds: int) -> int:
        for _ in range(rounds):
            pattern = draw.choice([*known, "/{a}", "/v1/{a}/{b}", "/{a}/{b}/{c}"])
            path = pattern
            while "{" in path:
                path = path.replace(path[path.index("{") : path.index("}") + 1], word(), 1)
            await world.client.request(draw.choice([*methods, word().upper()[:5]]), path)
        return len(series(world.parts.telemetry, metrics.HTTP))

    first = await throw(600)
    assert await throw(600) <= first + 12
    found = series(world.parts.telemetry, metrics.HTTP)
    assert sum(it.value for it in found) == 1200
    assert {it.labels["method"] for it in found} <= {*methods[:7], "other"}
    # One for each pattern that was hit, and all that hit none.
    assert len({it.labels["route"] for it in found}) <= 8
    assert asked(world, UNMATCHED, "other", 404) > 100


async def test_any_status_of_the_cluster_makes_few_series() -> None:
    """Its API server may answer what it wants, and whom it turns away is not ours to count."""
    telemetry = Telemetry("gateway")

    async def answer(request: Request) -> Response:
        request.scope[ROUTE] = CLUSTER
        return Response(status_code=int(request.path_params["code"]))

    observer = ObservedHttp(telemetry, SystemClock(), passed_on=CLUSTER)
    app = Starlette(
        routes=[Route("/{code:int}", answer)], middleware=[Middleware(Observing, observer=observer)]
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for code in range(200, 1000):
            await client.get(f"/{code}")
    assert told(telemetry, metrics.HTTP, route=CLUSTER) == 800
    assert told(telemetry, metrics.HTTP, code="other") > 700
    assert len(series(telemetry, metrics.HTTP)) < 80
    assert told(telemetry, metrics.DOOR_REFUSALS) == 0


async def test_a_failure_that_nobody_expected_is_a_500() -> None:
    telemetry = Telemetry("gateway")

    async def break_off(_request: Request) -> Response:
        raise RuntimeError("broken")

    observer = ObservedHttp(telemetry, SystemClock(), passed_on=CLUSTER)
    app = Starlette(
        routes=[Route("/", break_off)], middleware=[Middleware(Observing, observer=observer)]
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/")).status_code == 500
    assert told(telemetry, metrics.HTTP, code="500") == 1
    assert told(telemetry, metrics.HTTP_IN_FLIGHT) == 0


async def test_who_is_not_let_in_is_counted_by_the_reason(tmp_path: Path) -> None:
    async with access_world(tmp_path, rate=2) as access:
        telemetry = access.world.parts.telemetry

        def refused(reason: str) -> float:
            return told(telemetry, metrics.DOOR_REFUSALS, reason=reason)

        before = refused("unauthenticated"), refused("forbidden"), refused("rate")
        assert (await access.call("wrong", "GET", "/v1/nowhere"))[0] == 401
        path = f"/v1/namespaces/{OURS}/experiments/tune"
        assert (await access.call(access.tokens["reader"], "DELETE", path))[0] == 403
        assert (refused("unauthenticated"), refused("forbidden")) == (before[0] + 1, before[1] + 1)
        assert asked(access.world, REFUSED, "GET", 401) == 1
        answers = [await access.call(access.tokens["writer"], "GET", "/v1/me") for _ in range(8)]
        too_often = sum(status == 429 for status, _ in answers)
        assert too_often > 0
        assert refused("rate") == before[2] + too_often


async def test_a_body_that_is_too_large_is_counted(world: World) -> None:
    answer = await world.client.put(PATH, content=b"x" * (9 << 20))
    assert answer.status_code == 413
    assert told(world.parts.telemetry, metrics.DOOR_REFUSALS, reason="size") == 1


async def test_open_streams_are_told_until_their_clients_leave(world: World) -> None:
    await world.apply()
    telemetry = world.parts.telemetry

    def are_open(**kinds: int) -> bool:
        return all(told(telemetry, metrics.STREAMS, kind=it) == kinds[it] for it in kinds)

    async with real_client(world) as client:
        async with (
            client.stream("GET", f"{PATH}/events?follow=true"),
            client.stream("GET", WATCH),
            client.stream("GET", WATCH),
        ):
            await until(lambda: are_open(events=1, watch=2, log=0), "three are open")
            # An answer that goes on is no request that waits.
            assert told(telemetry, metrics.HTTP_IN_FLIGHT) == 0
        await until(lambda: are_open(events=0, watch=0, log=0), "all are closed")


async def test_a_request_is_in_flight_until_its_answer_begins(world: World) -> None:
    telemetry = world.parts.telemetry

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await release.wait()
        yield b"}"

    release = asyncio.Event()
    async with real_client(world) as client:
        asking = asyncio.ensure_future(client.put(PATH, content=slow()))
        await until(lambda: told(telemetry, metrics.HTTP_IN_FLIGHT) == 1, "it is in hand")
        release.set()
        await asking
    assert told(telemetry, metrics.HTTP_IN_FLIGHT) == 0
