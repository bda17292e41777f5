"""The cluster's own API through the gateway: the caller's token, and the logs of Katib's names."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import Double, running_double

from trialbus.adapters.http import serving
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.kubernetes.forwarding import ForwardingToCluster, cluster_client

TOKEN = {"authorization": "Bearer of-the-caller"}
PODS = "/api/v1/namespaces/default/pods"
Object = dict[str, Any]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Double]]:
    """A client of the gateway, without a token, and the cluster behind it."""
    with running_double(tmp_path / "double", token="of-the-caller") as double:
        async with client_of(double.url) as client:
            yield client, double


@asynccontextmanager
async def client_of(cluster: str) -> AsyncIterator[httpx.AsyncClient]:
    own = Starlette(routes=[Route("/v1/status", _own)])
    async with (
        cluster_client(cluster, None) as forwarded,
        serving(ForwardingToCluster(own, forwarded), host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        yield client


async def _own(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ours")


def pod(name: str, *containers: str, **annotations: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": it, "image": "i"} for it in containers],
        },
    }


async def test_objects_pass_both_ways_with_the_callers_token(
    gateway: tuple[httpx.AsyncClient, Double],
) -> None:
    client, double = gateway
    made = await client.post(
        "/api/v1/namespaces/default/configmaps?fieldManager=me",
        json={"metadata": {"name": "c-d"}, "data": {"a": "1"}},
        headers=TOKEN,
    )
    assert made.status_code == 201
    patched = await client.patch(
        "/api/v1/namespaces/default/configmaps/c-d",
        content=json.dumps([{"op": "replace", "path": "/data/a", "value": "2"}]),
        headers={**TOKEN, "content-type": "application/json-patch+json"},
    )
    assert patched.json()["data"] == {"a": "2"}
    listed = await client.get(
        "/api/v1/namespaces/default/configmaps",
        params={"labelSelector": "a in (b, c),!d", "limit": "5"},
        headers=TOKEN,
    )
    assert (listed.status_code, listed.json()["items"]) == (200, [])
    gone = await client.delete("/api/v1/namespaces/default/configmaps/c-d", headers=TOKEN)
    assert gone.json()["status"] == "Success"
    assert double.get("configmaps", "default", "c-d") is None


async def test_headers_come_as_the_caller_sent_them_and_no_others() -> None:
    """Groups that are impersonated come one by one, and a caller that does not say so cannot read
    what is compressed."""
    seen: list[tuple[str, str]] = []

    async def note(request: Request) -> PlainTextResponse:
        seen.extend(request.headers.items())
        return PlainTextResponse("")

    cluster = Starlette(routes=[Route(PODS, note)])
    sent = [("impersonate-user", "a"), ("impersonate-group", "g"), ("impersonate-group", "h")]
    async with (
        serving(cluster, host="127.0.0.1", port=0) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
    ):
        del client.headers["accept-encoding"]
        await client.get(PODS, headers=sent)
        assert [it for it in seen if it[0].startswith("impersonate")] == sent
        assert dict(seen)["accept-encoding"] == "identity"
        seen.clear()
        await client.get(PODS, headers={"accept-encoding": "gzip"})
        assert [it for it in seen if it[0] == "accept-encoding"] == [("accept-encoding", "gzip")]


async def test_who_has_no_token_of_the_cluster_is_sent_away_by_the_cluster(
    gateway: tuple[httpx.AsyncClient, Double],
) -> None:
    client, _ = gateway
    for headers in ({}, {"authorization": "Bearer of-another"}):
        answer = await client.get(PODS, headers=headers)
        assert (answer.status_code, answer.json()["kind"]) == (401, "Status")


async def test_what_is_not_kubernetes_is_the_gateways_own(
    gateway: tuple[httpx.AsyncClient, Double],
) -> None:
    client, _ = gateway
    assert (await client.get("/v1/status")).text == "ours"
    assert (await client.get("/v1/apis")).status_code == 404


async def test_a_watch_comes_as_it_goes(gateway: tuple[httpx.AsyncClient, Double]) -> None:
    client, double = gateway
    seen: list[str] = []

    async def follow() -> None:
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "20"}
        async with client.stream(
            "GET", "/api/v1/namespaces/default/configmaps", params=query, headers=TOKEN
        ) as answer:
            async for line in answer.aiter_lines():
                event = json.loads(line)
                seen.append(f"{event['type']} {event['object']['metadata']['name']}")

    following = asyncio.create_task(follow())
    for name in ("a", "b"):
        double.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        await until(partial(contains, seen, f"ADDED {name}"), f"{name} was seen")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@pytest.mark.parametrize("container", ["metrics-logger-and-collector", "metrics-collector"])
async def test_a_log_of_katibs_container_is_that_of_the_trial(
    gateway: tuple[httpx.AsyncClient, Double], container: str
) -> None:
    client, double = gateway
    double.pods.run = lambda _: Outcome(log=b"begun\nloss=1\n")
    double.create(pod("of-node", "node"))
    chosen = {"kubectl.kubernetes.io/default-container": "main"}
    double.create(pod("of-two", "first", "main", **chosen))
    double.create(pod("of-katib", "main", container))
    logs = {}
    for name in ("of-node", "of-two", "of-katib"):
        await until(partial(ended, double, name), f"{name} has ended")
        query = {"container": container, "follow": "True"}
        answer = await client.get(f"{PODS}/{name}/log", params=query, headers=TOKEN)
        assert answer.status_code == 200, (name, answer.text)
        logs[name] = answer.text
    # The first container of each says something, the others nothing.
    assert logs == {"of-node": "begun\nloss=1\n", "of-two": "", "of-katib": ""}
    assert (
        await client.get(f"{PODS}/of-two/log", params={"container": "x"}, headers=TOKEN)
    ).is_error


async def test_a_pod_that_is_not_there_is_told_by_the_cluster(
    gateway: tuple[httpx.AsyncClient, Double],
) -> None:
    client, _ = gateway
    answer = await client.get(
        f"{PODS}/nobody/log", params={"container": "metrics-collector"}, headers=TOKEN
    )
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")


async def test_a_log_that_is_cut_off_does_not_look_complete() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nloss=\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with client_of(address) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"{PODS}/node/log", headers=TOKEN)


async def test_a_cluster_that_is_away_is_told_as_kubernetes_tells_it() -> None:
    async with client_of("http://127.0.0.1:1") as client:
        answer = await client.get(PODS, headers=TOKEN)
    assert (answer.status_code, answer.json()["kind"]) == (503, "Status")


def ended(double: Double, name: str) -> bool:
    found = double.get("pods", "default", name) or {}
    return (found.get("status") or {}).get("phase") == "Succeeded"


def contains(seen: list[str], line: str) -> bool:
    return line in seen
