"""A gateway beside another cluster, or one whose state is not of now: nothing there is taken for
deleted, before somebody says so."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.cluster.double.faults import Fault
from tests.cluster.double.server import Double, running_double
from tests.cluster.resource_worlds import Kept, at_rest, kept_world

from trialbus.contracts.collections import RESOURCE_HOMES
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.testkit.gateway_world import katib
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until
from trialbus_gateway.app.resource_cluster import ResourceCluster
from trialbus_gateway.app.resource_documents import ResourceDocuments, ResourceLink
from trialbus_gateway.app.resource_home import HomeOfResources, OtherCluster

Logs = list[Any]


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Double]:
    """Another cluster."""
    with running_double(tmp_path / "other", seed=1) as running:
        yield running


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


def halted(kept: Kept) -> bool:
    return told(kept.world.parts.telemetry, metrics.RESOURCES_HALTED) == 1


def refusals(logs: Logs) -> Logs:
    return [it for it in logs if "may be another cluster" in it["event"]]


async def two_made(kept: Kept, *, namespaces: str = "") -> None:
    """Of an applied object and over HTTP; the gateway is stopped then."""
    stop = await kept.start(namespaces=namespaces)
    kept.double.create(katib("tune"))
    await kept.until_made("tune")
    await kept.world.apply("other")
    await kept.until_made("other")
    await stop()


async def until_halted(kept: Kept) -> None:
    await until(lambda: halted(kept), "it says that it keeps nothing")
    # Over some looks.
    before = kept.double.stats.requests["get", "namespaces"]
    await until(
        lambda: kept.double.stats.requests["get", "namespaces"] >= before + 2, "it looks again"
    )


@pytest.mark.parametrize("namespaces", ["", "lab"])
async def test_beside_another_cluster_no_experiment_is_deleted(
    kept: Kept, other: Double, logs: Logs, namespaces: str
) -> None:
    await two_made(kept, namespaces=namespaces)
    links = len(kept.links())
    await kept.move_to(other)
    stop = await kept.start(namespaces=namespaces)
    await until_halted(kept)
    assert await kept.living("tune") is not None
    assert await kept.living("other") is not None
    assert len(kept.links()) == links
    assert kept.double.list("experiments.kubeflow.org") == []
    [said] = refusals(logs)[:1]
    anchor = kept.double.get("namespaces", "", namespaces or "kube-system")
    assert anchor is not None
    assert said["cluster"] == anchor["metadata"]["uid"]
    assert f"recreate:{said['cluster']}" in said["remedy"]
    await stop()
    assert not halted(kept)


async def test_what_was_linked_there_since_does_not_make_another_cluster_ours(
    kept: Kept, other: Double
) -> None:
    """The gateway ran while its address became another cluster's, one that is as far."""
    await two_made(kept)
    ahead = newest_of(kept) + 1000
    await kept.move_to(other)
    other.do(lambda: setattr(other.state, "version", ahead))
    uid = str(other.create(katib("early"))["metadata"]["uid"])
    link = ResourceLink(id=uid, version=1, namespace="lab", name="early", uid="made-of-it")
    await ResourceDocuments(kept.world.parts.store).put(link)
    await kept.start()
    await until_halted(kept)
    assert await kept.living("tune") is not None
    assert await kept.living("other") is not None


@pytest.mark.parametrize("turned", [False, True])
async def test_while_its_address_becomes_another_clusters_nothing_is_taken_for_deleted(
    kept: Kept, other: Double, *, turned: bool
) -> None:
    """Between two questions of one look, or back again; both clusters are as far."""
    await two_made(kept)
    documents = ResourceDocuments(kept.world.parts.store)
    [link] = await documents.named("lab", "tune")
    ahead, uids = newest_of(kept) + 1000, [mark_of(kept.double), mark_of(other)]
    await kept.move_to(other)
    other.do(lambda: setattr(other.state, "version", ahead))
    parts, moving = kept.world.parts, Moving(kept.api, uids[::-1] if turned else uids)
    home = HomeOfResources(documents, moving, parts.clock, parts.telemetry.log, namespaces=None)
    with pytest.raises(OtherCluster):
        await home.has_lost(link)


class Moving(ResourceCluster):
    """uids: of kube-system, as they are told one after the other."""

    def __init__(self, api: ClusterApi, uids: Sequence[str]) -> None:
        super().__init__(api)
        self._uids = list(uids)

    async def namespace_uid(self, _name: str) -> str:
        return self._uids.pop(0)


async def test_a_gateway_that_comes_back_goes_on_as_before(
    kept: Kept, double: Double, other: Double
) -> None:
    await two_made(kept)
    api = kept.api
    await kept.move_to(other)
    stop = await kept.start()
    await until_halted(kept)
    await stop()
    kept.double, kept.api = double, api
    await kept.delete("tune")
    await kept.start()
    await kept.until_gone("tune")
    await at_rest(kept)
    assert await kept.living("other") is not None


async def test_objects_are_made_anew_where_somebody_says_so(kept: Kept, other: Double) -> None:
    await two_made(kept)
    before = {name: await kept.living(name) for name in ("tune", "other")}
    await kept.move_to(other)
    await kept.start(accept=f"recreate:{mark_of(other)}")
    for name, state in before.items():
        again = await kept.until_made(name)
        assert state is not None and again.id == state.id
    # And from then on it is the cluster that counts.
    await kept.delete("tune")
    await kept.until_gone("tune")
    assert await kept.living("other") is not None


async def test_what_is_gone_is_dropped_where_somebody_says_so(kept: Kept, other: Double) -> None:
    await two_made(kept)
    await kept.move_to(other)
    await kept.start(accept=f"drop:{mark_of(other)}")
    for name in ("tune", "other"):
        await kept.until_gone(name)


async def test_another_clusters_word_is_not_taken_for_this_one(kept: Kept, other: Double) -> None:
    await two_made(kept)
    accept = f"drop:{mark_of(kept.double)}"
    await kept.move_to(other)
    await kept.start(accept=accept)
    await until_halted(kept)
    assert await kept.living("tune") is not None


def mark_of(double: Double) -> str:
    found = double.get("namespaces", "", "kube-system")
    assert found is not None
    return str(found["metadata"]["uid"])


async def test_where_nothing_is_linked_another_cluster_is_as_good(
    kept: Kept, other: Double
) -> None:
    stop = await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.delete()
    await kept.until_gone()
    await until(lambda: not kept.links(), "nothing is linked")
    await stop()
    await kept.move_to(other)
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()


async def test_a_namespace_that_was_made_again_takes_its_experiments_along(kept: Kept) -> None:
    """The cluster is the same: kube-system says so."""
    await two_made(kept)
    kept.double.delete("namespaces", "", "lab")
    await until(lambda: kept.double.get("namespaces", "", "lab") is None, "it has gone")
    kept.double.make_namespace("lab")
    await kept.start()
    await kept.until_gone("tune")
    await kept.until_gone("other")


async def test_the_only_namespace_that_is_kept_and_was_made_again_is_asked_about(
    kept: Kept,
) -> None:
    """It cannot be told from another cluster's."""
    await two_made(kept, namespaces="lab")
    kept.double.delete("namespaces", "", "lab")
    await until(lambda: kept.double.get("namespaces", "", "lab") is None, "it has gone")
    kept.double.make_namespace("lab")
    await kept.start(namespaces="lab")
    await until_halted(kept)
    assert await kept.living("tune") is not None


async def test_with_one_of_its_namespaces_as_before_it_is_the_same_cluster(kept: Kept) -> None:
    kept.double.make_namespace("more")
    await two_made(kept, namespaces="lab,more")
    kept.double.delete("namespaces", "", "lab")
    await until(lambda: kept.double.get("namespaces", "", "lab") is None, "it has gone")
    kept.double.make_namespace("lab")
    await kept.start(namespaces="lab,more")
    await kept.until_gone("tune")


async def test_a_gateway_of_an_older_release_knew_by_its_objects_which_cluster_it_was(
    kept: Kept, double: Double, other: Double
) -> None:
    await two_made(kept)
    api = kept.api
    await forget_home(kept)
    await kept.move_to(other)
    stop = await kept.start()
    await until_halted(kept)
    assert await kept.living("tune") is not None
    await stop()
    kept.double, kept.api = double, api
    await kept.delete("tune")
    await kept.start()
    await kept.until_gone("tune")
    assert await kept.living("other") is not None


async def forget_home(kept: Kept) -> None:
    tests = kept.world.store.client("tests")
    await tests.delete(RESOURCE_HOMES.name, Query(equals={"_id": "home"}))
    assert kept.world.store.documents(RESOURCE_HOMES.name) == []


async def test_without_the_right_to_namespaces_another_object_says_which_cluster_it_is(
    kept: Kept, logs: Logs
) -> None:
    kept.double.access.deny("get", "namespaces")
    await two_made(kept)
    await kept.delete("tune")
    await kept.start()
    await kept.until_gone("tune")
    # Of the last one nothing says it.
    await kept.delete("other")
    await until_halted(kept)
    assert await kept.living("other") is not None
    assert refusals(logs)[0]["remedy"] == "let the gateway get namespaces"


async def test_a_cluster_that_was_set_back_to_before_an_object_does_not_delete_it(
    kept: Kept, logs: Logs
) -> None:
    """A snapshot of its state from before, without what was made since."""
    stop = await kept.start()
    kept.double.create(katib("early"))
    await kept.until_made("early")
    then = kept.double.do(lambda: kept.double.state.version)
    kept.double.create(katib("tune"))
    await kept.until_made("tune")
    await at_rest(kept)
    await until(lambda: newest_of(kept) > then, "it is remembered how far it was")
    was = newest_of(kept)
    await stop()
    restore(kept.double, then, without="tune")
    stop = await kept.start()
    await until_halted(kept)
    assert await kept.living("tune") is not None
    # It does not help that time goes on there.
    kept.double.do(lambda: setattr(kept.double.state, "version", was + 1000))
    await until_halted(kept)
    await stop()
    stop = await kept.start()
    await until_halted(kept)
    assert await kept.living("tune") is not None
    await stop()
    mark = refusals(logs)[0]["cluster"]
    assert mark == f"{mark_of(kept.double)}.{was}"
    await kept.start(accept=f"recreate:{mark}")
    await kept.until_made("tune")
    assert await kept.living("early") is not None


def newest_of(kept: Kept) -> int:
    found = kept.world.store.documents(RESOURCE_HOMES.name)
    return int(found[0]["newest"]) if found else 0


def restore(double: Double, version: int, *, without: str) -> None:
    """As of a snapshot: the object has never been there, so nobody is told of its end."""

    def go() -> None:
        shelf = double.state.shelf("kubeflow.org", "experiments")
        shelf.objects.pop(("lab", without))
        shelf.keys.remove(("lab", without))
        double.state.version = version

    double.do(go)


async def test_a_restored_cluster_that_counts_on_far_ahead_is_noticed(kept: Kept) -> None:
    """etcd's guide adds a billion to the version of a snapshot."""
    await two_made(kept)
    was = newest_of(kept)
    restore(kept.double, was + 1_000_000_000, without="tune")
    await kept.start()
    await until_halted(kept)
    assert await kept.living("tune") is not None


async def test_a_server_that_does_not_serve_the_kind_deletes_nothing(kept: Kept) -> None:
    """It answers 404 for every object while it starts."""
    await two_made(kept)
    kept.double.faults.add(
        Fault(kind="status", code=404, verb="list", resource="experiments", times=None)
    )
    kept.double.faults.add(
        Fault(
            kind="status",
            code=404,
            reason="NotFound",
            verb="get",
            resource="experiments",
            times=None,
        )
    )
    stop = await kept.start()
    await until(lambda: kept.double.faults.total > 10, "it was asked often")
    assert await kept.living("tune") is not None
    assert await kept.living("other") is not None
    kept.double.faults.clear()
    await stop()
    await kept.start()
    await at_rest(kept)
    assert await kept.living("tune") is not None
