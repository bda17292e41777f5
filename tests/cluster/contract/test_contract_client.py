"""Our own client beside the bare requests of the other tests: its answers, errors and reflectors
are the same on the double and on a real cluster."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster.cluster_clients import CONFIG_MAPS, PODS, config_map, opened
from tests.cluster.contract.definitions import VERSION
from tests.cluster.contract.targets import KUBECONFIG, Target, job, name, pod

from trialbus.adapters.kubernetes_api import Change, Reflector
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterApi,
    Conflict,
    Gone,
    Invalid,
    NoSuchKind,
    NotFound,
    Object,
    Patch,
)
from trialbus.testkit.waits import until

MARK = "contract.trialbus.io/reflected"


@pytest.fixture
async def api(target: Target) -> AsyncIterator[ClusterApi]:
    path = KUBECONFIG if target.double is None else target.double.kubeconfig
    async with opened(Path(path)) as api:
        yield api


def labelled(called: str, **data: str) -> Object:
    body = config_map(called, **data)
    body["metadata"]["labels"] = {MARK: "1"}
    return body


async def test_kinds_and_what_we_may(api: ClusterApi, target: Target) -> None:
    jobs = await api.resource("batch/v1", "Job")
    assert (jobs.plural, jobs.namespaced, "status" in jobs.subresources) == ("jobs", True, True)
    assert jobs.verbs >= {"get", "list", "watch", "create", "patch", "delete"}
    assert await api.may("create", jobs, target.namespace)
    with pytest.raises(NoSuchKind):
        await api.resource("batch/v1", "Nothing")
    with pytest.raises(NoSuchKind):
        await api.resource("nowhere.trialbus.io/v1", "Nothing")


async def test_an_object_from_creation_to_its_end(api: ClusterApi, target: Target) -> None:
    here, called = target.namespace, name("object")
    made = await api.create(CONFIG_MAPS, here, labelled(called, x="1"))
    with pytest.raises(AlreadyExists):
        await api.create(CONFIG_MAPS, here, labelled(called))
    assert (await api.get(CONFIG_MAPS, here, called))["data"] == {"x": "1"}
    applied = await api.patch(CONFIG_MAPS, here, called, labelled(called, x="2"), kind=Patch.APPLY)
    assert applied["data"] == {"x": "2"}
    old = {"resourceVersion": made["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await api.patch(CONFIG_MAPS, here, called, {"metadata": old, "data": {"x": "3"}})
    with pytest.raises(Conflict):
        await api.delete(CONFIG_MAPS, here, called, uid="00000000-0000-0000-0000-000000000000")
    await api.delete(CONFIG_MAPS, here, called, uid=made["metadata"]["uid"])
    for gone in (api.get(CONFIG_MAPS, here, called), api.delete(CONFIG_MAPS, here, called)):
        with pytest.raises(NotFound):
            await gone


async def test_what_is_wrong_is_told_before_anything_is_stored(
    api: ClusterApi, target: Target
) -> None:
    jobs = await api.resource("batch/v1", "Job")
    body = job(name("wrong"), "true")
    spec = body["spec"]["template"]["spec"]
    with pytest.raises(Invalid) as caught:
        spec["restartPolicy"] = "Always"
        await api.create(jobs, target.namespace, body, dry_run=True)
    assert [field for field, _ in caught.value.causes] == ["spec.template.spec.restartPolicy"]
    spec["restartPolicy"] = "Never"
    await api.create(jobs, target.namespace, body, dry_run=True)
    with pytest.raises(NotFound):
        await api.get(jobs, target.namespace, body["metadata"]["name"])
    with pytest.raises(NotFound):
        await api.create(jobs, "no-namespace-of-this-name", body)


async def test_the_log_of_a_pod_that_is_over(api: ClusterApi, target: Target) -> None:
    here, called = target.namespace, name("said")
    await api.create(PODS, here, pod(called, "echo one; echo two"))

    async def over() -> bool:
        found = await api.get(PODS, here, called)
        return (found.get("status") or {}).get("phase") == "Succeeded"

    await until(over, "it is over", within_s=target.deadline_s)
    assert await api.log(here, called, tail_lines=1) == b"two\n"
    async with api.follow_log(here, called) as pieces:
        assert b"".join([piece async for piece in pieces]) == b"one\ntwo\n"
    with pytest.raises(Invalid):
        await api.log(here, called, container="none")
    with pytest.raises(NotFound):
        await api.log(here, name("nobody"))


async def test_a_watch_from_an_impossible_past_is_gone(api: ClusterApi, served: Target) -> None:
    samples = await api.resource(f"{served.group}/{VERSION}", "Sample")
    with pytest.raises(Gone):
        async with api.watch(
            samples, served.namespace, resource_version="1", timeout_s=5
        ) as events:
            async for _ in events:
                pass


async def test_a_reflector_follows(api: ClusterApi, target: Target) -> None:
    here, first, second = target.namespace, name("a"), name("b")
    told: list[tuple[str, str | None]] = []
    reflector: Reflector[str] = Reflector(
        api,
        CONFIG_MAPS,
        here,
        summary=lambda found: str((found.get("data") or {}).get("x")),
        label_selector=MARK,
        watch_s=2.0,
    )

    async def follow() -> None:
        change: Change[str]
        async for change in reflector.changes():
            told.append((change.key.name, change.summary))

    await api.create(CONFIG_MAPS, here, labelled(first, x="1"))
    task = asyncio.create_task(follow())
    await reflector.synced.wait()
    await api.create(CONFIG_MAPS, here, labelled(second, x="2"))
    await api.create(CONFIG_MAPS, here, config_map(name("other"), x="3"))
    await api.delete(CONFIG_MAPS, here, first)
    await api.create(CONFIG_MAPS, here, labelled(first, x="4"))
    await api.patch(CONFIG_MAPS, here, second, {"metadata": {"labels": {MARK: None}}})
    wanted = [(first, "1"), (second, "2"), (first, None), (first, "4"), (second, None)]
    await until(lambda: told == wanted, f"{wanted}, not {told}", within_s=target.deadline_s)
    task.cancel()
    await asyncio.wait([task])
    assert reflector.resyncs == 0
