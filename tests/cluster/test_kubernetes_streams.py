"""Watches and logs of the ClusterApi port, against the double of the API server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.cluster.cluster_clients import (
    CONFIG_MAPS,
    NAMESPACE,
    PODS,
    config_map,
    make,
    opened,
    pod,
    without_furniture,
)
from tests.cluster.double.faults import Fault
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import Double

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import ClusterApi, Gone, Invalid, NotFound, WatchEvent, WatchKind
from trialbus.testkit.waits import until


@pytest.fixture
def double(double: Double) -> Double:
    return without_furniture(double)


@pytest.fixture
async def api(double: Double) -> AsyncIterator[ClusterApi]:
    async with opened(double.kubeconfig) as api:
        yield api


# -- watches


async def watched(api: ClusterApi, version: str, count: int, **more: Any) -> list[tuple[str, str]]:
    """(kind, name) of so many events."""
    seen: list[tuple[str, str]] = []
    async with api.watch(
        CONFIG_MAPS, NAMESPACE, resource_version=version, timeout_s=10, **more
    ) as events:
        async for event in events:
            seen.append((event.kind.value, str(event.object["metadata"].get("name"))))
            if len(seen) == count:
                break
    return seen


async def version_now(api: ClusterApi) -> str:
    return (await api.list(CONFIG_MAPS, NAMESPACE, limit=1)).resource_version


async def test_a_watch_brings_what_comes_after_its_version(api: ClusterApi) -> None:
    await make(api, "old")
    version = await version_now(api)
    await make(api, "a")
    await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"data": {"x": "1"}})
    await api.create(CONFIG_MAPS, "kube-system", config_map("elsewhere"))
    await api.delete(CONFIG_MAPS, NAMESPACE, "a")
    seen = await watched(api, version, 3)
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_ends_when_its_time_is_over_and_brings_a_bookmark(api: ClusterApi) -> None:
    version = await version_now(api)
    await api.create(CONFIG_MAPS, "kube-system", config_map("elsewhere"))
    async with api.watch(CONFIG_MAPS, NAMESPACE, resource_version=version, timeout_s=1) as events:
        seen = [event async for event in events]
    assert [event.kind for event in seen] == [WatchKind.BOOKMARK]
    assert int(seen[0].resource_version) > int(version)


async def test_a_watch_from_too_long_ago_is_gone(api: ClusterApi, double: Double) -> None:
    version = await version_now(api)
    await make(api, "a")
    double.compact()
    with pytest.raises(Gone):
        await watched(api, version, 1)


async def test_a_watch_may_be_gone_in_the_middle(api: ClusterApi, double: Double) -> None:
    version = await version_now(api)
    double.faults.add(Fault(kind="watch-gone", after_events=1))
    await make(api, "a")
    with pytest.raises(Gone):
        await watched(api, version, 2)


async def test_a_watch_that_the_server_drops_ends(api: ClusterApi, double: Double) -> None:
    version = await version_now(api)
    double.faults.add(Fault(kind="watch-drop", after_events=1))
    await make(api, "a")
    assert await watched(api, version, 2) == [("ADDED", "a")]


async def test_a_watch_may_select_by_label(api: ClusterApi) -> None:
    version = await version_now(api)
    labelled = config_map("b")
    labelled["metadata"]["labels"] = {"a": "1"}
    await make(api, "a")
    await api.create(CONFIG_MAPS, NAMESPACE, labelled)
    assert await watched(api, version, 1, label_selector="a=1") == [("ADDED", "b")]


async def test_watches_end_and_calls_fail_when_we_close(double: Double) -> None:
    begun = asyncio.Event()

    async def watch(api: ClusterApi, version: str) -> list[WatchEvent]:
        async with api.watch(
            CONFIG_MAPS, NAMESPACE, resource_version=version, timeout_s=30
        ) as events:
            # The server counts a watch before its answer is here.
            begun.set()
            return [event async for event in events]

    async with opened(double.kubeconfig) as api:
        task = asyncio.create_task(watch(api, await version_now(api)))
        async with asyncio.timeout(10):
            await begun.wait()
        await api.close()
        async with asyncio.timeout(5):
            assert await task == []
        with pytest.raises(Transient, match="closed"):
            await version_now(api)


async def test_open_watches_take_no_turns_from_calls(double: Double) -> None:
    async with opened(double.kubeconfig) as api:
        version = await version_now(api)
        count = limits.CLUSTER_REQUESTS_AT_ONCE + 10
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(watched(api, version, 1))
            await until(lambda: len(double.answering.watches) == count, "all of them watch at once")
            await make(api, "a")


# -- logs


async def started(api: ClusterApi, name: str) -> bool:
    """Whether its container has begun to write."""
    try:
        return bool(await api.log(NAMESPACE, name))
    except Invalid:
        return False


async def test_a_log_is_read_as_far_as_it_is_there(api: ClusterApi) -> None:
    await api.create(PODS, NAMESPACE, pod("p", "sh", "-c", "echo one; echo two"))
    await until(lambda: started(api, "p"), "it has written")
    async with api.follow_log(NAMESPACE, "p") as pieces:
        assert b"".join([piece async for piece in pieces]) == b"one\ntwo\n"
    assert await api.log(NAMESPACE, "p", container="main", tail_lines=1) == b"two\n"
    assert await api.log(NAMESPACE, "p", limit_bytes=3) == b"one"
    stamped = await api.log(NAMESPACE, "p", timestamps=True, tail_lines=1)
    time, _, line = stamped.partition(b" ")
    assert line == b"two\n"
    assert await api.log(NAMESPACE, "p", since="2200-01-01T00:00:00Z") == b""
    assert b"two" in await api.log(NAMESPACE, "p", since=time.decode())


async def test_a_log_that_cannot_be_is_told_apart(api: ClusterApi, double: Double) -> None:
    double.pods.run = lambda _: Outcome(stuck="ImagePullBackOff")
    await api.create(PODS, NAMESPACE, pod("p"))

    async def has_a_node() -> bool:
        return bool((await api.get(PODS, NAMESPACE, "p"))["spec"].get("nodeName"))

    await until(has_a_node, "it has a node")
    with pytest.raises(Invalid, match="waiting to start"):
        await api.log(NAMESPACE, "p")
    with pytest.raises(NotFound):
        await api.log(NAMESPACE, "q")
    with pytest.raises(NotFound):
        async with api.follow_log(NAMESPACE, "q"):
            pass


async def test_a_followed_log_ends_when_we_close(double: Double) -> None:
    double.pods.run = lambda _: Outcome(log=b"one\n", after_s=None)
    async with opened(double.kubeconfig) as api:
        await api.create(PODS, NAMESPACE, pod("p"))
        await until(lambda: started(api, "p"), "it has written")
        async with api.follow_log(NAMESPACE, "p") as pieces:
            assert await anext(pieces) == b"one\n"
            await api.close()
            async with asyncio.timeout(5):
                assert [piece async for piece in pieces] == []
