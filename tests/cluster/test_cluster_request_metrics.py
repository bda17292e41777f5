"""What is told of requests to the API server: each that was sent, once, with its answer."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from tests.cluster.cluster_clients import HastyClock, scripted

from trialbus.adapters.kubernetes_api.pace import LoopClock
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import Forbidden, NotFound, Resource
from trialbus.runtime import metrics
from trialbus.runtime.call_metrics import ClusterRequests
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.told_metrics import series, told, told_seconds
from trialbus.testkit.waits import until

JOBS = Resource(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True)


class SleepersClock(LoopClock):
    """Time goes on only as those who sleep wake."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        wakes_at = self.time + delay_s
        await asyncio.sleep(0)
        self.time = max(self.time, wakes_at)


def found(telemetry: Telemetry) -> Counter[str]:
    return Counter(
        {
            f"{it.labels['verb']} {it.labels['code']}": int(it.value)
            for it in series(telemetry, metrics.CLUSTER_REQUESTS)
        }
    )


async def test_each_call_is_told_by_what_it_is_and_its_answer(tmp_path: Path) -> None:
    telemetry = Telemetry("trial_launcher")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/gone"):
            status = {"kind": "Status", "reason": "NotFound", "details": {"name": "gone"}}
            return web.json_response(status, status=404)
        if "watch" in request.query:
            return web.Response(text="")
        if request.path.endswith("/log"):
            return web.Response(text="line\n")
        body = {"items": [], "resources": [], "status": {"allowed": True}}
        return web.json_response(body, status=201 if request.method == "POST" else 200)

    async with scripted(tmp_path, handler, observer=ClusterRequests(telemetry)) as api:
        await api.get(JOBS, "n", "a")
        with pytest.raises(NotFound):
            await api.get(JOBS, "n", "gone")
        await api.list(JOBS, "n")
        await api.list(JOBS, "n")
        await api.create(JOBS, "n", {})
        await api.patch(JOBS, "n", "a", {})
        await api.delete(JOBS, "n", "a")
        assert await api.may("get", JOBS, "n")
        async with api.watch(JOBS, "n", resource_version="1", timeout_s=5) as events:
            assert [it async for it in events] == []
        assert await api.log("n", "p") == b"line\n"
        async with api.follow_log("n", "p") as pieces:
            assert [it async for it in pieces] == [b"line\n"]
    assert found(telemetry) == {
        "get 200": 1,
        "get 404": 1,
        "list 200": 2,
        "create 201": 2,
        "patch 200": 1,
        "delete 200": 1,
        "watch 200": 1,
        "log 200": 2,
    }
    assert told(telemetry, metrics.CLUSTER_WAIT) == 11


async def test_repeats_are_told_each_with_its_own_answer(tmp_path: Path) -> None:
    telemetry, answers = Telemetry("gateway"), iter([429, 429, 401, 200, 401, 401])

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"items": []}, status=next(answers))

    observer = ClusterRequests(telemetry)
    async with scripted(tmp_path, handler, observer=observer, clock=HastyClock()) as api:
        await api.list(JOBS, "n")
        with pytest.raises(Forbidden):
            await api.list(JOBS, "n")
    assert found(telemetry) == {"list 429": 2, "list 401": 3, "list 200": 1}


async def test_a_request_without_an_answer_is_told_as_0(tmp_path: Path) -> None:
    telemetry = Telemetry("trial_launcher")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "DELETE":
            assert request.transport is not None
            request.transport.abort()
        await asyncio.Event().wait()
        raise AssertionError("nothing wakes it")

    observer = ClusterRequests(telemetry)
    async with scripted(tmp_path, handler, observer=observer, call_deadline_s=0.2) as api:
        with pytest.raises(Transient):
            await api.delete(JOBS, "n", "a")
        with pytest.raises(Transient, match="no answer"):
            await api.get(JOBS, "n", "a")
    assert found(telemetry) == {"delete 0": 1, "get 0": 1}


async def test_who_wants_to_ask_faster_than_it_may_waits_and_says_so(tmp_path: Path) -> None:
    telemetry = Telemetry("trial_launcher")

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"items": []})

    options = {"observer": ClusterRequests(telemetry), "clock": SleepersClock()}
    async with scripted(tmp_path, handler, requests_per_second=20, **options) as api:
        await asyncio.gather(*(api.list(JOBS, "n") for _ in range(9)))
        await until(lambda: told(telemetry, metrics.CLUSTER_WAIT) == 9, "all had their turn")
    # The first six at once, then one each 50 ms: 0.05 + 0.1 + 0.15 s.
    assert told_seconds(telemetry, metrics.CLUSTER_WAIT) == pytest.approx(0.3)
