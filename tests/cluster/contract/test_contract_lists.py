"""Lists and watches: pages, selectors, and no gap between a list and the watch that follows it."""

import pytest
from tests.cluster.contract.conftest import WITH_DEFINITIONS
from tests.cluster.contract.targets import Target, config_map, name
from tests.cluster.contract.watching import watching

pytestmark = WITH_DEFINITIONS


def made(target: Target, count: int, **labels: str) -> str:
    """So many objects with a label of their own, which is returned."""
    mark = name("list")
    for i in range(count):
        body = config_map(f"{mark}-{i:02d}", mark=mark, parity=str(i % 2), **labels)
        target.make(target.path("configmaps"), body)
    return mark


def test_a_list_comes_in_pages_of_one_moment(target: Target) -> None:
    mark, path = made(target, 5), target.path("configmaps")
    selector = f"mark={mark}"
    first = target.get(path, labelSelector=selector, limit=2)
    target.delete(target.path("configmaps", f"{mark}-04"))
    second = target.get(
        path, labelSelector=selector, limit=2, **{"continue": first["metadata"]["continue"]}
    )
    third = target.get(
        path, labelSelector=selector, limit=2, **{"continue": second["metadata"]["continue"]}
    )
    found = [i["metadata"]["name"] for page in (first, second, third) for i in page["items"]]
    assert found == [f"{mark}-{i:02d}" for i in range(5)]
    # Of custom resources it is there, and empty.
    assert not third["metadata"].get("continue")
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1


def test_a_page_without_selectors_says_how_many_remain(target: Target) -> None:
    made(target, 3)
    page = target.get(target.path("configmaps"), limit=1)
    everything = target.get(target.path("configmaps"))
    assert page["metadata"]["remainingItemCount"] == len(everything["items"]) - 1
    assert page["kind"] == "ConfigMapList"


def test_a_continuation_that_is_none_is_a_400(target: Target) -> None:
    path = target.path("configmaps")
    status = target.call("GET", path, params={"continue": "%%%"}, expect=400)
    assert status["reason"] == "BadRequest"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=0", [0, 2]),
        ("parity!=0", [1, 3]),
        ("parity in (1)", [1, 3]),
        ("parity notin (0, 2)", [1, 3]),
        ("parity", [0, 1, 2, 3]),
        ("!parity", []),
        ("parity=0,nothing", []),
    ],
)
def test_label_selectors(target: Target, selector: str, expected: list[int]) -> None:
    mark = made(target, 4)
    listed = target.get(target.path("configmaps"), labelSelector=f"mark={mark},{selector}")
    found = [int(item["metadata"]["name"][-2:]) for item in listed["items"]]
    assert found == expected


def test_field_selectors_know_the_name(target: Target) -> None:
    mark, path = made(target, 2), target.path("configmaps")
    listed = target.get(path, fieldSelector=f"metadata.name={mark}-01")
    assert [item["metadata"]["name"] for item in listed["items"]] == [f"{mark}-01"]
    target.call("GET", path, params={"fieldSelector": "data.a=1"}, expect=400)


def test_a_list_over_all_namespaces(target: Target) -> None:
    mark = made(target, 2)
    listed = target.get(f"{target.core}/configmaps", labelSelector=f"mark={mark}")
    assert {item["metadata"]["namespace"] for item in listed["items"]} == {target.namespace}
    assert len(listed["items"]) == 2


def test_a_watch_goes_on_where_the_list_ended(target: Target) -> None:
    mark, path = made(target, 2), target.path("configmaps")
    selector = f"mark={mark}"
    version = target.get(path, labelSelector=selector)["metadata"]["resourceVersion"]
    # All three before the watch is there.
    target.make(path, config_map(f"{mark}-new", mark=mark))
    target.patch(target.path("configmaps", f"{mark}-00"), {"data": {"a": "2"}})
    target.delete(target.path("configmaps", f"{mark}-01"))
    with watching(target, path, labelSelector=selector, resourceVersion=version) as watched:
        target.until(lambda: len(watched.kinds()) == 3, "all that came after the list")
    assert watched.kinds() == ["ADDED", "MODIFIED", "DELETED"]
    assert watched.names() == [f"{mark}-new", f"{mark}-00", f"{mark}-01"]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in watched.events]
    assert versions == sorted(versions)
    assert versions[0] > int(version)


def test_a_watch_can_go_on_after_any_event(target: Target) -> None:
    mark, path = made(target, 1), target.path("configmaps")
    one = target.path("configmaps", f"{mark}-00")
    versions = [
        target.patch(one, {"data": {"a": str(i)}})["metadata"]["resourceVersion"]
        for i in range(10, 14)
    ]
    query = {"labelSelector": f"mark={mark}", "resourceVersion": versions[1]}
    with watching(target, path, **query) as watched:
        target.until(lambda: len(watched.kinds()) == 2, "what came after the second")
    assert [e["object"]["data"]["a"] for e in watched.events] == ["12", "13"]


def test_a_watch_from_nowhere_begins_with_what_is_there(target: Target) -> None:
    mark = made(target, 2)
    path = target.path("configmaps")
    with watching(target, path, labelSelector=f"mark={mark}", resourceVersion="0") as watched:
        target.until(lambda: len(watched.kinds()) == 2, "what is there")
        target.make(path, config_map(f"{mark}-x", mark=mark))
        target.until(lambda: len(watched.kinds()) == 3, "what comes")
    assert watched.kinds() == ["ADDED"] * 3


def test_what_leaves_a_selection_is_deleted_for_its_watcher(target: Target) -> None:
    mark = made(target, 1)
    path, one = target.path("configmaps"), target.path("configmaps", f"{mark}-00")
    version = target.get(path)["metadata"]["resourceVersion"]
    query = {"labelSelector": f"mark={mark},parity=0", "resourceVersion": version}
    with watching(target, path, **query) as watched:
        target.patch(one, {"metadata": {"labels": {"parity": "7"}}})
        target.patch(one, {"metadata": {"labels": {"parity": "0"}}})
        target.until(lambda: len(watched.kinds()) == 2, "it left and came back")
    assert watched.kinds() == ["DELETED", "ADDED"]


def test_a_watch_ends_at_its_timeout_after_a_bookmark_if_others_changed(target: Target) -> None:
    path = target.path("configmaps")
    version = target.get(path)["metadata"]["resourceVersion"]
    query = {"resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": 4}
    with watching(target, path, labelSelector=f"mark={name('none')}", **query) as watched:
        changed = made(target, 1)
        target.until(watched.ended.is_set, "the watch is over")
    assert watched.kinds() == []
    last = watched.bookmarks()[-1]
    written = target.get(target.path("configmaps", f"{changed}-00"))["metadata"]["resourceVersion"]
    assert int(last["metadata"]["resourceVersion"]) >= int(written) > int(version)
    assert last["kind"] == "ConfigMap"


def test_a_streamed_list_ends_with_its_own_bookmark(target: Target) -> None:
    mark = made(target, 2)
    query = {
        "labelSelector": f"mark={mark}",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    with watching(target, target.path("configmaps"), **query) as watched:
        target.until(watched.bookmarks, "the bookmark after the first events")
    assert watched.kinds() == ["ADDED", "ADDED"]
    annotations = watched.bookmarks()[0]["metadata"]["annotations"]
    assert annotations["k8s.io/initial-events-end"] == "true"


def test_initial_events_want_their_match(target: Target) -> None:
    query = {"watch": "true", "sendInitialEvents": "true"}
    assert target.http.get(target.path("configmaps"), params=query).status_code == 422


def test_one_object_is_watched_by_a_field_selector(target: Target) -> None:
    mark, path = made(target, 2), target.path("configmaps")
    version = target.get(path)["metadata"]["resourceVersion"]
    query = {"fieldSelector": f"metadata.name={mark}-01", "resourceVersion": version}
    with watching(target, path, **query) as watched:
        for i in range(2):
            target.delete(target.path("configmaps", f"{mark}-0{i}"))
        target.until(watched.kinds, "its deletion")
    assert watched.names("DELETED") == [f"{mark}-01"]


def test_a_version_of_the_future_is_not_answered(target: Target) -> None:
    query = {"resourceVersion": str(2**50), "resourceVersionMatch": "NotOlderThan"}
    answer = target.http.get(target.path("configmaps"), params=query)
    assert answer.status_code == 504
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
