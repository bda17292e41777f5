"""The ClusterApi port over kubernetes-asyncio, against the double of the API server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster_clients import (
    CONFIG_MAPS,
    NAMESPACE,
    PODS,
    HastyClock,
    config_map,
    make,
    opened,
    pod,
    without_furniture,
)
from tests.cluster.double.faults import Fault
from tests.cluster.double.server import Double

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.local.servers.ports import free_ports
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterApi,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NoSuchKind,
    NotFound,
    Object,
    Patch,
)
from trialbus.testkit.waits import until


@pytest.fixture
def double(double: Double) -> Double:
    return without_furniture(double)


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
async def api(double: Double, clock: HastyClock) -> AsyncIterator[ClusterApi]:
    async with opened(double.kubeconfig, clock=clock) as api:
        yield api


# -- objects


async def test_an_object_is_made_read_changed_and_removed(api: ClusterApi) -> None:
    made = await make(api, "a", x="1")
    assert await api.get(CONFIG_MAPS, NAMESPACE, "a") == made
    changed = await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"data": {"y": "2"}})
    assert changed["data"] == {"x": "1", "y": "2"}
    step = {"op": "replace", "path": "/data/y", "value": "3"}
    changed = await api.patch(CONFIG_MAPS, NAMESPACE, "a", [step], kind=Patch.JSON)
    assert changed["data"]["y"] == "3"
    await api.delete(CONFIG_MAPS, NAMESPACE, "a")
    with pytest.raises(NotFound):
        await api.get(CONFIG_MAPS, NAMESPACE, "a")
    with pytest.raises(NotFound):
        await api.delete(CONFIG_MAPS, NAMESPACE, "a")
    with pytest.raises(NotFound):
        await api.patch(CONFIG_MAPS, NAMESPACE, "a", {})


async def test_what_is_applied_is_made_or_changed(api: ClusterApi) -> None:
    for value in ("1", "2"):
        body = config_map("a", x=value)
        found = await api.patch(CONFIG_MAPS, NAMESPACE, "a", body, kind=Patch.APPLY)
    assert found["data"] == {"x": "2"}


async def test_a_second_creation_is_refused_and_a_missing_namespace_told(api: ClusterApi) -> None:
    await make(api, "a")
    with pytest.raises(AlreadyExists):
        await make(api, "a")
    with pytest.raises(NotFound, match="nowhere"):
        await api.create(CONFIG_MAPS, "nowhere", config_map("a"))


async def test_a_trial_creation_checks_and_stores_nothing(api: ClusterApi) -> None:
    await api.create(CONFIG_MAPS, NAMESPACE, config_map("a"), dry_run=True)
    with pytest.raises(NotFound):
        await api.get(CONFIG_MAPS, NAMESPACE, "a")
    with pytest.raises(Invalid) as caught:
        await api.create(CONFIG_MAPS, NAMESPACE, config_map("A_b"), dry_run=True)
    assert [field for field, _ in caught.value.causes] == ["metadata.name"]


async def test_a_merge_with_an_old_version_is_a_conflict(api: ClusterApi) -> None:
    old = await make(api, "a")
    await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"data": {"x": "1"}})
    version = {"resourceVersion": old["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await api.patch(CONFIG_MAPS, NAMESPACE, "a", {"metadata": version, "data": {"x": "2"}})


async def test_only_the_object_that_was_meant_is_deleted(api: ClusterApi) -> None:
    made = await make(api, "a")
    with pytest.raises(Conflict):
        await api.delete(CONFIG_MAPS, NAMESPACE, "a", uid="another")
    await api.delete(CONFIG_MAPS, NAMESPACE, "a", uid=made["metadata"]["uid"])


async def test_a_status_is_patched_by_its_own_address(api: ClusterApi, double: Double) -> None:
    job = await api.resource("batch/v1", "Job")
    assert "status" in job.subresources
    template = {"spec": pod("x")["spec"]}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}}
    await api.create(job, NAMESPACE, {**body, "spec": {"suspend": True, "template": template}})
    change = {"status": {"ready": 0}}
    found = await api.patch(job, NAMESPACE, "a", change, subresource="status")
    assert found["status"]["ready"] == 0
    assert double.stats.requests["patch", "jobs/status"] == 1


# -- lists


async def test_a_list_comes_in_pages_with_the_kind_of_each_item(api: ClusterApi) -> None:
    for index in range(5):
        await make(api, f"a{index}")
    names, after, pages = [], "", 0
    while pages == 0 or after:
        page = await api.list(CONFIG_MAPS, NAMESPACE, limit=2, next=after)
        assert {(each["apiVersion"], each["kind"]) for each in page.items} == {("v1", "ConfigMap")}
        names += [each["metadata"]["name"] for each in page.items]
        after, pages = page.next, pages + 1
    assert (names, pages) == ([f"a{index}" for index in range(5)], 3)


async def test_a_list_keeps_to_namespace_and_selectors(api: ClusterApi, double: Double) -> None:
    labelled = config_map("b")
    labelled["metadata"]["labels"] = {"a": "1"}
    await make(api, "a")
    await api.create(CONFIG_MAPS, NAMESPACE, labelled)
    await api.create(CONFIG_MAPS, "kube-system", config_map("c"))

    async def names(namespace: str | None, **more: str) -> list[str]:
        page = await api.list(CONFIG_MAPS, namespace, **more)  # type: ignore[arg-type]
        return [each["metadata"]["name"] for each in page.items]

    assert await names(None) == ["a", "b", "c"]
    assert await names("kube-system") == ["c"]
    assert await names(None, label_selector="a in (1,3),a!=4") == ["b"]
    assert await names(None, field_selector="metadata.name=c") == ["c"]


async def test_a_continuation_that_is_too_old_is_gone(api: ClusterApi, double: Double) -> None:
    for index in range(3):
        await make(api, f"a{index}")
    page = await api.list(CONFIG_MAPS, NAMESPACE, limit=1)
    await make(api, "b")
    double.compact()
    with pytest.raises(Gone):
        await api.list(CONFIG_MAPS, NAMESPACE, limit=1, next=page.next)


# -- discovery and access


async def test_a_kind_is_found_once_and_remembered(api: ClusterApi, double: Double) -> None:
    found = await asyncio.gather(*(api.resource("batch/v1", "Job") for _ in range(5)))
    assert {(each.plural, each.namespaced, each.api_version) for each in found} == {
        ("jobs", True, "batch/v1")
    }
    assert (await api.resource("batch/v1", "CronJob")).plural == "cronjobs"
    assert double.stats.requests["get", "discovery"] == 1


@pytest.mark.parametrize("version", ["batch/v7", "nowhere.io/v1", "v9", "batch/v1"])
async def test_a_kind_that_is_not_there_is_no_such_kind(api: ClusterApi, version: str) -> None:
    with pytest.raises(NoSuchKind, match=version):
        await api.resource(version, "Nothing")


async def test_a_kind_whose_definition_comes_is_found(double: Double) -> None:
    clock = SteppingClock()
    async with opened(double.kubeconfig, clock=clock) as api:
        with pytest.raises(NoSuchKind):
            await api.resource("example.io/v1", "Widget")
        double.create(definition("Widget"))
        clock.at += limits.CLUSTER_MISSING_KIND_S
        widgets = await api.resource("example.io/v1", "Widget")
        body = {"apiVersion": "example.io/v1", "kind": "Widget", "metadata": {"name": "a"}}
        await api.create(widgets, NAMESPACE, body)


async def test_a_kind_whose_definition_goes_is_looked_for_anew(
    api: ClusterApi, double: Double
) -> None:
    double.create(definition("Widget"))
    widgets = await api.resource("example.io/v1", "Widget")
    double.delete("CustomResourceDefinition", "", "widgets.example.io")
    with pytest.raises(NoSuchKind):
        await api.list(widgets, NAMESPACE)
    with pytest.raises(NoSuchKind):
        await api.resource("example.io/v1", "Widget")


async def test_what_our_account_may_is_asked_of_the_server(api: ClusterApi, double: Double) -> None:
    double.access.deny("create", "jobs.batch", "kube-system")
    double.access.deny("get", "pods/log")
    jobs = await api.resource("batch/v1", "Job")
    assert await api.may("create", jobs, NAMESPACE)
    assert not await api.may("create", jobs, "kube-system")
    assert not await api.may("get", PODS, NAMESPACE, subresource="log")
    assert await api.may("list", PODS, None)


async def test_what_we_may_not_is_forbidden(api: ClusterApi, double: Double) -> None:
    double.access.deny("create", "configmaps")
    with pytest.raises(Forbidden, match="cannot create"):
        await make(api, "a")


# -- trouble


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_that_says_later_is_asked_again_later(
    api: ClusterApi, double: Double, clock: HastyClock, code: int
) -> None:
    double.faults.add(Fault(kind="status", code=code, retry_after_s=3, times=2))
    await make(api, "a")
    waits = [each for each in clock.slept if each >= 1]
    assert len(waits) == 2
    assert all(3 <= each <= 6 for each in waits)


async def test_after_a_429_without_a_time_it_is_a_second(
    api: ClusterApi, double: Double, clock: HastyClock
) -> None:
    double.faults.add(Fault(kind="status", code=429))
    await make(api, "a")
    assert [1 <= each <= 2 for each in clock.slept] == [True]


async def test_a_later_beyond_the_deadline_is_not_waited_for(
    api: ClusterApi, double: Double, clock: HastyClock
) -> None:
    after_s = int(limits.CLUSTER_CALL_DEADLINE_S)
    double.faults.add(Fault(kind="status", code=429, retry_after_s=after_s))
    with pytest.raises(Transient, match="429"):
        await make(api, "a")
    assert clock.slept == []


@pytest.mark.parametrize("code", [500, 503, 504])
async def test_a_failure_of_the_server_is_not_repeated_by_itself(
    api: ClusterApi, double: Double, code: int
) -> None:
    double.faults.add(Fault(kind="status", code=code))
    with pytest.raises(Transient, match=str(code)):
        await make(api, "a")
    assert double.stats.requests["create", "configmaps"] == 1


@pytest.mark.parametrize("kind", ["reset", "hold", "status"])
async def test_a_creation_whose_answer_is_lost_is_transient_and_there(
    double: Double, kind: Any
) -> None:
    double.faults.add(Fault(kind=kind, moment="after", code=504, verb="create"))
    # Only the wait on a connection that is held ends with the deadline.
    options = {"call_deadline_s": 0.3} if kind == "hold" else {}
    async with opened(double.kubeconfig, **options) as api:
        with pytest.raises(Transient):
            await make(api, "a")
    await until(lambda: double.get("configmaps", NAMESPACE, "a"), "it is made")


async def test_a_server_that_is_away_is_transient(tmp_path: Path, double: Double) -> None:
    (port,) = free_ports(1)
    away = tmp_path / "away"
    away.write_text(double.kubeconfig.read_text().replace(double.url, f"http://127.0.0.1:{port}"))
    async with opened(away) as api:
        with pytest.raises(Transient):
            await api.get(CONFIG_MAPS, NAMESPACE, "a")


def definition(kind: str) -> Object:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.io"},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


class SteppingClock(HastyClock):
    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at
