"""Who may talk to whom, by the rules of NetworkPolicies as Kubernetes reads them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

Object = dict[str, Any]
Render = Callable[..., list[Object]]

HOME = "trialbus"
SERVICES = ("gateway", "experiment", "suggestion", "trial-launcher")
SERVICES_ALL = (*SERVICES, "metrics-collector", "early-stopping")
RUN = {"app.kubernetes.io/managed-by": "trialbus", "trialbus.io/instance": "trialbus-trialbus"}
PORTS = {
    "nats": (4222, 6222, 8222),
    "mongodb": (27017,),
    "gateway": (8080, 6789, 8081),
    "trial": (9090,),
    "stranger": (80,),
} | {name: (6789, 8081) for name in SERVICES_ALL if name != "gateway"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    namespace: str
    labels: Mapping[str, str]


def _ours(name: str) -> Pod:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "trialbus"}
    return Pod(namespace=HOME, labels=labels)


PODS = {name: _ours(name) for name in (*SERVICES_ALL, "nats", "mongodb", "provision")} | {
    "mongodb-initiate": _ours("mongodb-initiate"),
    "trial": Pod(namespace="team-a", labels=RUN),
    "prometheus": Pod(namespace="monitoring", labels={"app": "prometheus"}),
    "stranger": Pod(namespace="team-b", labels={"app": "stranger"}),
    "neighbour": Pod(namespace=HOME, labels={"app": "neighbour"}),
}


def _chosen(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for it in selector.get("matchExpressions", []):
        assert it["operator"] == "In"
        if labels.get(it["key"]) not in it["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _is_peer(peer: Mapping[str, Any], home: str, pod: Pod) -> bool:
    if "ipBlock" in peer:
        return False
    name = {"kubernetes.io/metadata.name": pod.namespace}
    if "namespaceSelector" in peer:
        here = _chosen(peer["namespaceSelector"], name)
    else:
        here = pod.namespace == home
    return here and _chosen(peer.get("podSelector", {}), pod.labels)


def _lets(
    objects: list[Object], subject: Pod, direction: str, other: Pod, port: int, *, to: str
) -> bool:
    """Whether the policies that choose `subject` let it talk to, or hear, `other`."""
    policies = [
        it
        for it in objects
        if it["kind"] == "NetworkPolicy"
        and it["metadata"]["namespace"] == subject.namespace
        and direction in it["spec"]["policyTypes"]
        and _chosen(it["spec"]["podSelector"], subject.labels)
    ]
    rules = [rule for it in policies for rule in it["spec"].get(direction.lower(), [])]
    return not policies or any(
        (to not in rule or any(_is_peer(it, subject.namespace, other) for it in rule[to]))
        and ("ports" not in rule or port in [it["port"] for it in rule["ports"]])
        for rule in rules
    )


def connections(objects: list[Object]) -> Iterator[tuple[str, str, int]]:
    """(from, to, port) of all that is possible; not from those who are no concern of ours to others
    who are none."""
    others = {"trial", "stranger", "neighbour", "prometheus"}
    for source, subject in PODS.items():
        for target, ports in PORTS.items():
            for port in ports:
                if source in others and target in others:
                    continue
                if _lets(objects, subject, "Egress", PODS[target], port, to="to") and _lets(
                    objects, PODS[target], "Ingress", subject, port, to="from"
                ):
                    yield source, target, port


SERVERS = {
    *((it, "nats", 4222) for it in (*SERVICES_ALL, "provision")),
    *((it, "mongodb", 27017) for it in (*SERVICES_ALL, "mongodb-initiate")),
    ("nats", "nats", 6222),
    ("mongodb", "mongodb", 27017),
}
FORWARDED = {("gateway", it, 6789) for it in ("suggestion", "metrics-collector", "early-stopping")}
SCRAPED = {("trial-launcher", "trial", 9090)}
WATCHED = {("prometheus", it, 8081) for it in SERVICES_ALL} | {("prometheus", "nats", 8222)}
DOOR = {(it, "gateway", port) for it in PODS for port in (8080, 6789)}
# Pods of ours may connect to nobody but those whom they need, so neither to the door.
OURS = {it for it in PODS if PODS[it].labels.get("app.kubernetes.io/instance")}
GUESTS = {it for it in DOOR if it[0] not in OURS}
EXPECTED = SERVERS | FORWARDED | SCRAPED | WATCHED | GUESTS


@pytest.mark.parametrize("name", ["default", "laptop-kind", "production"])
def test_everybody_reaches_what_they_need_and_nothing_else(
    renderings: Mapping[str, list[Object]], name: str
) -> None:
    assert set(connections(renderings[name])) == EXPECTED


@pytest.mark.parametrize("kind", ["gateway", "mongodb", "trial-launcher", "provision"])
def test_a_policy_that_is_missing_is_noticed(
    renderings: Mapping[str, list[Object]], kind: str
) -> None:
    gone = ("NetworkPolicy", f"trialbus-{kind}")
    rest = [it for it in renderings["default"] if (it["kind"], it["metadata"]["name"]) != gone]
    assert len(rest) == len(renderings["default"]) - 1
    assert set(connections(rest)) > EXPECTED


def test_a_gateway_may_choose_its_guests_and_trials_always_are(
    renderings: Mapping[str, list[Object]],
) -> None:
    """Of the example for some namespaces: only trials and the namespace `ingress`."""
    doors = {it for it in connections(renderings["namespaced"]) if it[1] == "gateway"}
    assert {it[0] for it in doors if it[2] == 8080} == {"trial"}


def test_trials_reach_the_gateway_alone_where_the_values_say_so(
    renderings: Mapping[str, list[Object]],
) -> None:
    reached = {it for it in connections(renderings["namespaced"]) if it[0] == "trial"}
    assert reached == {("trial", "gateway", 8080), ("trial", "gateway", 6789)}
    outside = PODS["trial"], "Egress", PODS["stranger"], 80
    assert not _lets(renderings["namespaced"], *outside, to="to")
    assert _lets(renderings["default"], *outside, to="to")


def test_without_policies_everything_is_open(render: Render) -> None:
    objects = render({"global": {"networkPolicy": {"enabled": False}}})
    assert ("stranger", "mongodb", 27017) in set(connections(objects))
