"""Reflectors: what they know of the server's objects, whatever happens to lists and watches."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.cluster.cluster_clients import (
    CONFIG_MAPS,
    NAMESPACE,
    HastyClock,
    config_map,
    make,
    opened,
    without_furniture,
)
from tests.cluster.double.faults import Fault, bad_weather
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import (
    Change,
    ObjectKey,
    Reflector,
    Reflectors,
    namespaces_of,
)
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import ClusterApi, ClusterError, Object
from trialbus.testkit.waits import until

SEEDS = range(200)
STEPS = 12


@pytest.fixture
def double(double: Double) -> Double:
    return without_furniture(double)


@pytest.fixture
async def api(double: Double) -> AsyncIterator[ClusterApi]:
    async with opened(double.kubeconfig, clock=HastyClock()) as api:
        yield api


def value_of(found: Object) -> str:
    return str((found.get("data") or {}).get("x", ""))


class Follower:
    """A reflector of ConfigMaps that runs, and what it told: (name, value or None)."""

    def __init__(self, api: ClusterApi, **options: Any) -> None:
        self.clock = HastyClock()
        self.reflector = Reflector(
            api,
            CONFIG_MAPS,
            NAMESPACE,
            **{"summary": value_of, "clock": self.clock, **options},
        )
        self.told: list[tuple[str, str | None]] = []
        self.view: dict[str, str] = {}

    async def follow(self) -> None:
        async for change in self.reflector.changes():
            name = change.key.name
            self.told.append((name, change.summary))
            if change.summary is None:
                del self.view[name]
            else:
                self.view[name] = change.summary
            assert self.reflector.get(change.key) == change.summary

    async def until_told(self, *told: tuple[str, str | None]) -> None:
        await until(lambda: self.told == list(told), f"{told}, not {self.told}")


@asynccontextmanager
async def following(api: ClusterApi, **options: Any) -> AsyncIterator[Follower]:
    follower = Follower(api, **options)
    task = asyncio.create_task(follower.follow())
    try:
        async with asyncio.timeout(20):
            await follower.reflector.synced.wait()
            yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def change(api: ClusterApi, name: str, value: str) -> None:
    await api.patch(CONFIG_MAPS, NAMESPACE, name, {"data": {"x": value}})


async def remove(api: ClusterApi, name: str) -> None:
    await api.delete(CONFIG_MAPS, NAMESPACE, name)


async def until_watching(double: Double, count: int = 1) -> None:
    await until(lambda: len(double.answering.watches) == count, "the watches are open")


def watches(double: Double) -> int:
    return double.stats.requests["watch", "configmaps"]


def lists(double: Double) -> int:
    return double.stats.requests["list", "configmaps"]


# -- what is told


async def test_what_is_there_is_told_first_and_then_what_changes(api: ClusterApi) -> None:
    await make(api, "a", x="1")
    async with following(api) as follower:
        assert follower.told == [("a", "1")]
        await make(api, "b", x="2")
        await change(api, "a", "3")
        await remove(api, "b")
        await follower.until_told(("a", "1"), ("b", "2"), ("a", "3"), ("b", None))
        assert list(follower.reflector) == [ObjectKey(NAMESPACE, "a")]
        assert follower.reflector.resyncs == 0


async def test_a_change_that_the_summary_leaves_out_is_not_told(api: ClusterApi) -> None:
    await make(api, "a", x="1")
    async with following(api) as follower:
        await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"data": {"y": "2"}})
        await make(api, "b", x="1")
        await follower.until_told(("a", "1"), ("b", "1"))


async def test_the_last_state_of_what_goes_is_told_before_its_end(
    api: ClusterApi, double: Double
) -> None:
    await make(api, "a", x="1")

    def and_its_labels(found: Object) -> str:
        return value_of(found) + "".join(found["metadata"].get("labels", {}))

    selector = {"label_selector": "!hidden", "summary": and_its_labels}
    async with following(api, **selector) as follower:
        await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"metadata": {"labels": {"hidden": "1"}}})
        await follower.until_told(("a", "1"), ("a", "1hidden"), ("a", None))


async def test_many_objects_come_in_pages(
    api: ClusterApi, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus.kernel.limits.MAX_PAGE_ITEMS", 3)
    for index in range(10):
        await make(api, f"a{index}")
    async with following(api) as follower:
        assert sorted(follower.view) == [f"a{index}" for index in range(10)]
        assert lists(double) == 4


async def test_a_list_whose_pages_are_gone_is_begun_anew(
    api: ClusterApi, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus.kernel.limits.MAX_PAGE_ITEMS", 3)
    for index in range(10):
        await make(api, f"a{index}")
    double.faults.add(Fault(kind="status", code=410, verb="list", skip=2))
    async with following(api) as follower:
        assert sorted(follower.view) == [f"a{index}" for index in range(10)]
        assert lists(double) == 3 + 4


# -- what happens to watches


async def test_a_dropped_watch_goes_on_where_it_was(api: ClusterApi, double: Double) -> None:
    double.faults.add(Fault(kind="watch-drop", after_events=1))
    async with following(api) as follower:
        await make(api, "a", x="1")
        await make(api, "b", x="2")
        await follower.until_told(("a", "1"), ("b", "2"))
        assert (lists(double), follower.reflector.resyncs) == (1, 0)


async def test_a_watch_that_has_gone_lists_anew_and_tells_what_was_deleted(
    api: ClusterApi, double: Double
) -> None:
    for name in ("a", "b", "c"):
        await make(api, name, x="1")
    async with following(api) as follower:
        await until_watching(double)
        hold = double.faults.add(Fault(kind="status", verb="watch", times=None))
        double.do(double.end_watches)
        await until(lambda: follower.reflector.trouble, "the watch is away")
        await remove(api, "a")
        await change(api, "b", "2")
        await remove(api, "c")
        await make(api, "c", x="1")
        double.compact()
        double.faults.orders.remove(hold)
        await until(lambda: follower.reflector.resyncs == 1, "it has listed")
        # The new c is another object of that name.
        assert follower.told[3:] == [("b", "2"), ("c", None), ("c", "1"), ("a", None)]
        await until(lambda: not follower.reflector.trouble, "it follows again")


async def test_a_410_in_the_middle_of_a_watch_lists_anew(api: ClusterApi, double: Double) -> None:
    double.faults.add(Fault(kind="watch-gone", after_events=1))
    async with following(api) as follower:
        await make(api, "a", x="1")
        await make(api, "b", x="2")
        await follower.until_told(("a", "1"), ("b", "2"))
        await until(lambda: follower.reflector.resyncs == 1, "it has listed")


async def test_a_bookmark_moves_the_place_where_the_next_watch_begins(
    api: ClusterApi, double: Double
) -> None:
    double.answering.bookmark_every_s = 0.05
    async with following(api) as follower:
        for index in range(3):
            await api.create(CONFIG_MAPS, "kube-system", config_map(f"elsewhere{index}"))
        await until_watching(double)
        version = str(double.state.version)
        await until(lambda: follower.reflector.position == version, "a bookmark came")
        double.compact()
        double.do(double.end_watches)
        await until(lambda: watches(double) >= 2, "it watches again")
        await make(api, "a", x="1")
        await follower.until_told(("a", "1"))
        assert follower.reflector.resyncs == 0


async def test_a_silent_watch_is_ended_and_taken_up_again(api: ClusterApi, double: Double) -> None:
    double.faults.add(Fault(kind="watch-silent", after_events=1))
    async with following(api, watch_s=1.0) as follower:
        await make(api, "a", x="1")
        await make(api, "b", x="2")
        await follower.until_told(("a", "1"), ("b", "2"))
        assert (watches(double), follower.reflector.resyncs) == (2, 0)


async def test_watches_that_end_at_once_are_not_begun_at_once(
    api: ClusterApi, double: Double
) -> None:
    double.faults.add(Fault(kind="watch-drop", times=10))
    async with following(api) as follower:
        await until(lambda: watches(double) == 11, "it watches at last")
        waits = follower.clock.slept
        assert len(waits) == 10
        # 0.2 s, doubled up to 10 s, of which at least half.
        assert waits[0] <= 0.2
        assert all(5 <= each <= 10 for each in waits[6:])


async def test_a_list_of_the_past_is_not_believed(api: ClusterApi, double: Double) -> None:
    async with following(api) as follower:
        for name in ("a", "b", "c"):
            await make(api, name, x="1")
        await follower.until_told(("a", "1"), ("b", "1"), ("c", "1"))
        double.faults.add(Fault(kind="stale", events_back=2, verb="list", times=2))
        double.faults.add(Fault(kind="watch-gone"))
        double.do(double.end_watches)
        await until(lambda: follower.reflector.resyncs == 1, "it has listed")
        assert lists(double) == 4
        assert follower.told == [("a", "1"), ("b", "1"), ("c", "1")]


async def test_a_server_that_was_put_back_is_believed_in_the_end(
    api: ClusterApi, double: Double
) -> None:
    async with following(api) as follower:
        for name in ("a", "b"):
            await make(api, name, x="1")
        await follower.until_told(("a", "1"), ("b", "1"))
        stale = double.faults.add(Fault(kind="stale", events_back=1, verb="list", times=None))
        double.faults.add(Fault(kind="watch-gone"))
        double.do(double.end_watches)
        await until(lambda: follower.reflector.resyncs == 1, "it has listed")
        double.faults.orders.remove(stale)
        assert lists(double) == 1 + 4


async def test_what_we_may_not_read_is_told_and_tried_again(
    api: ClusterApi, double: Double
) -> None:
    double.access.deny("list", "configmaps")
    follower = Follower(api)
    task = asyncio.create_task(follower.follow())
    await until(lambda: "cannot list" in follower.reflector.trouble, "it says so")
    assert not follower.reflector.synced.is_set()
    double.access.allow("list", "configmaps")
    await until(follower.reflector.synced.is_set, "it follows")
    task.cancel()
    await asyncio.wait([task])


# -- several namespaces


async def test_each_namespace_of_the_settings_is_followed(api: ClusterApi, double: Double) -> None:
    double.make_namespace("third")
    followed = Reflectors(api, CONFIG_MAPS, namespaces_of("default, kube-system"), summary=value_of)
    told: list[Change[str]] = []

    async def changed(change: Change[str]) -> None:
        told.append(change)

    await make(api, "a", x="1")
    task = asyncio.create_task(followed.run(changed))
    await followed.wait_synced()
    for namespace in ("third", "kube-system"):
        await api.create(CONFIG_MAPS, namespace, config_map("b", x="2"))
    await until(lambda: len(told) == 2, "both are told")
    assert [tuple(each.key) for each in told] == [("default", "a"), ("kube-system", "b")]
    assert followed.get(ObjectKey("kube-system", "b")) == "2"
    assert followed.get(ObjectKey("third", "b")) is None
    assert (len(followed), followed.synced, followed.troubles) == (2, True, {})
    task.cancel()
    await asyncio.wait([task])


def test_no_namespaces_are_all_of_them() -> None:
    assert namespaces_of("") == (None,)
    assert namespaces_of(" a,b ,a,") == ("a", "b")


# -- whatever happens


@pytest.mark.timeout(300)
async def test_the_view_equals_the_servers_after_any_changes_and_faults(double: Double) -> None:
    async with opened(double.kubeconfig, clock=HastyClock()) as api:
        for seed in SEEDS:
            await _one_history(api, double, random.Random(seed), seed)
    struck = {kind.split()[0]: count for kind, count in double.faults.counts.items()}
    assert set(struck) == {"status", "reset", "watch-drop", "watch-gone", "stale", "compact"}
    assert double.faults.total > 3 * len(SEEDS)


async def _one_history(api: ClusterApi, double: Double, draw: random.Random, seed: int) -> None:
    calm = Follower(api)
    double.faults.storm(seed, bad_weather(0.08))
    task = asyncio.create_task(calm.follow())
    for _ in range(STEPS):
        await _persist(api, draw)
        if draw.random() < 0.2:
            double.do(double.end_watches)
        if draw.random() < 0.1:
            double.compact()
    double.faults.clear()
    double.do(double.end_watches)
    there = {each["metadata"]["name"]: value_of(each) for each in double.list("configmaps")}
    await until(lambda: calm.view == there, f"seed {seed}: {calm.view} is {there}")
    assert {key.name for key in calm.reflector} == set(there), seed
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), seed


async def _persist(api: ClusterApi, draw: random.Random) -> None:
    """One random change, whose outcome need not be known."""
    name = draw.choice("abcdef")
    do: Callable[[], Awaitable[object]] = draw.choice(
        [
            lambda: make(api, name, x=str(draw.random())),
            lambda: change(api, name, str(draw.random())),
            lambda: remove(api, name),
        ]
    )
    with suppress(Transient, ClusterError):
        await do()
