"""Owners and what they own; quotas and standards that forbid."""

from typing import Any

from tests.cluster.contract.targets import HOLD, Target, config_map, name, pod

Object = dict[str, Any]


def owned(target: Target, owner: Object, name_: str, **more: Any) -> str:
    body = config_map(name_)
    body["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **more,
        }
    ]
    target.make(target.path("configmaps"), body)
    return target.path("configmaps", name_)


def test_what_is_owned_goes_after_its_owner(target: Target) -> None:
    owner = target.make(target.path("configmaps"), config_map(wanted := name("owner")))
    below = owned(target, owner, f"{wanted}-below")
    deeper = owned(target, target.get(below), f"{wanted}-deeper")
    target.delete(target.path("configmaps", wanted), {"propagationPolicy": "Background"})
    target.expect_gone(below)
    target.expect_gone(deeper)


def test_an_owner_that_waits_goes_last(target: Target) -> None:
    owner = target.make(target.path("configmaps"), config_map(wanted := name("owner")))
    place = target.path("configmaps", wanted)
    below = owned(target, owner, f"{wanted}-below", blockOwnerDeletion=True)
    target.patch(below, {"metadata": {"finalizers": [HOLD]}})
    target.delete(place, {"propagationPolicy": "Foreground"})
    target.until(
        lambda: "deletionTimestamp" in target.get(below)["metadata"], "what is owned is asked"
    )
    assert target.get(place)["metadata"]["finalizers"] == ["foregroundDeletion"]
    target.patch(below, {"metadata": {"finalizers": None}})
    target.expect_gone(place)


def test_orphans_stay_without_the_reference(target: Target) -> None:
    owner = target.make(target.path("configmaps"), config_map(wanted := name("owner")))
    below = owned(target, owner, f"{wanted}-below")
    target.delete(target.path("configmaps", wanted), {"propagationPolicy": "Orphan"})
    target.expect_gone(target.path("configmaps", wanted))
    target.until(lambda: "ownerReferences" not in target.get(below)["metadata"], "an orphan")


def test_what_has_two_owners_stays_with_the_second(target: Target) -> None:
    first = target.make(target.path("configmaps"), config_map(wanted := name("owner")))
    second = target.make(target.path("configmaps"), config_map(f"{wanted}-second"))
    below = owned(target, first, f"{wanted}-below")
    references = target.get(below)["metadata"]["ownerReferences"]
    more = {**references[0], "name": second["metadata"]["name"], "uid": second["metadata"]["uid"]}
    target.patch(below, {"metadata": {"ownerReferences": [*references, more]}})
    target.delete(target.path("configmaps", wanted), {"propagationPolicy": "Background"})
    target.until(
        lambda: len(target.get(below)["metadata"]["ownerReferences"]) == 1, "one owner is left"
    )
    target.delete(target.path("configmaps", f"{wanted}-second"))
    target.expect_gone(below)


def test_what_names_an_owner_that_never_was_goes(target: Target) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-4000-8000-000000000001"}}
    target.expect_gone(owned(target, ghost, name("orphan")))


def test_a_quota_forbids_what_is_too_many(target: Target) -> None:
    wanted = name("quota")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": wanted}}
    spec = {"hard": {"count/leases.coordination.k8s.io": "1"}}
    target.make(target.path("resourcequotas"), {**quota, "spec": spec})
    counted = target.path("resourcequotas", wanted)
    target.until(lambda: "used" in target.get(counted).get("status", {}), "the quota counts")
    path = target.path("leases", group="coordination.k8s.io/v1")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    codes: list[int] = []
    refused: list[Object] = []

    def is_exceeded() -> bool:
        """Who admits hears of a quota, and of its counts, by itself."""
        body = {**lease, "metadata": {"name": name("lease")}}
        answer = target.http.post(path, json=body)
        codes.append(answer.status_code)
        refused[:] = [answer.json()] if answer.status_code == 403 else []
        return bool(refused) and "exceeded quota" in refused[0]["message"]

    target.until(is_exceeded, "a lease is one too many")
    assert refused[0]["reason"] == "Forbidden"
    assert 201 in codes
    target.delete(counted)


def test_the_restricted_standard_is_enforced(target: Target) -> None:
    body = pod(name("root"), "true")
    del body["spec"]["containers"][0]["securityContext"]
    status = target.make(target.path("pods"), body, expect=403)
    assert 'violates PodSecurity "restricted:latest"' in status["message"]
    assert "allowPrivilegeEscalation != false" in status["message"]
