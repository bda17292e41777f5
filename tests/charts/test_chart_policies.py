"""Every rendering keeps every policy, and every policy finds its breach in a spoilt rendering."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.charts import policies
from tests.charts.policies import POLICIES, Policy

Object = dict[str, Any]
Change = Callable[[list[Object]], object]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda it: it.__name__)
@pytest.mark.parametrize("name", ["default", "external", "laptop-kind", "namespaced", "production"])
def test_a_rendering_keeps_the_policies(
    renderings: Mapping[str, list[Object]], name: str, policy: Policy
) -> None:
    assert list(policy(renderings[name])) == []


def test_an_installation_for_some_namespaces_has_no_cluster_role(
    renderings: Mapping[str, list[Object]],
) -> None:
    assert list(policies.nothing_is_cluster_wide(renderings["namespaced"])) == []
    assert list(policies.nothing_is_cluster_wide(renderings["default"]))


def _of(objects: list[Object], kind: str) -> Object:
    return next(it for it in objects if it["kind"] == kind)


def _pod(objects: list[Object]) -> Object:
    spec: Object = _of(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def _container(objects: list[Object]) -> Object:
    container: Object = _pod(objects)["containers"][0]
    return container


def _rule(objects: list[Object]) -> Object:
    rule: Object = _of(objects, "ClusterRole")["rules"][0]
    return rule


def _added(kind: str, **fields: Any) -> Change:
    it = {"kind": kind, "metadata": {"name": "more"}, **fields}
    return lambda objects: objects.append(it)


BREACHES: list[tuple[str, Policy, Change]] = [
    ("root", policies.pods_are_restricted, lambda o: _pod(o)["securityContext"].clear()),
    ("host network", policies.pods_are_restricted, lambda o: _pod(o).update(hostNetwork=True)),
    (
        "host path",
        policies.pods_are_restricted,
        lambda o: _pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    (
        "privileged",
        policies.containers_are_restricted,
        lambda o: _container(o)["securityContext"].update(privileged=True),
    ),
    (
        "capabilities",
        policies.containers_are_restricted,
        lambda o: _container(o)["securityContext"].pop("capabilities"),
    ),
    (
        "root is written",
        policies.containers_are_restricted,
        lambda o: _container(o)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    (
        "no limits",
        policies.resources_are_bounded,
        lambda o: _container(o)["resources"].pop("limits"),
    ),
    (
        "unbounded folder",
        policies.resources_are_bounded,
        lambda o: _pod(o)["volumes"].append({"name": "x", "emptyDir": {}}),
    ),
    ("latest", policies.images_are_pinned, lambda o: _container(o).update(image="a:latest")),
    ("no tag", policies.images_are_pinned, lambda o: _container(o).update(image="h:5000/a")),
    ("any verb", policies.roles_are_minimal, lambda o: _rule(o).update(verbs=["*"])),
    ("any resource", policies.roles_are_minimal, lambda o: _rule(o).update(resources=["*"])),
    ("secrets", policies.roles_are_minimal, lambda o: _rule(o)["resources"].append("secrets")),
    ("makes pods", policies.roles_are_minimal, lambda o: _rule(o).update(resources=["pods"])),
    (
        "webhook",
        policies.nothing_is_admitted_by_us,
        _added("ValidatingWebhookConfiguration"),
    ),
    (
        "hook",
        policies.nothing_is_admitted_by_us,
        lambda o: _of(o, "Job")["metadata"].update(annotations={"helm.sh/hook": "pre-install"}),
    ),
    (
        "token",
        policies.accounts_have_tokens_for_roles_only,
        lambda o: _of(o, "StatefulSet")["spec"]["template"]["spec"].pop(
            "automountServiceAccountToken"
        ),
    ),
    ("secret", policies.secrets_are_referred_to, _added("Secret")),
    (
        "password",
        policies.secrets_are_referred_to,
        lambda o: _container(o)["env"].append({"name": "A_PASSWORD", "value": "x"}),
    ),
    (
        "no wall",
        policies.pods_are_walled,
        lambda o: o.remove(_of(o, "NetworkPolicy")),
    ),
    (
        "rollout",
        policies.rollouts_leave_nobody_waiting,
        lambda o: _of(o, "Deployment")["spec"].pop("strategy"),
    ),
]


@pytest.mark.parametrize(
    ("policy", "change"), [it[1:] for it in BREACHES], ids=[it[0] for it in BREACHES]
)
def test_a_breach_is_found(
    renderings: Mapping[str, list[Object]], policy: Policy, change: Change
) -> None:
    spoilt = copy.deepcopy(renderings["default"])
    change(spoilt)
    assert list(policy(spoilt))


def test_every_policy_has_a_breach() -> None:
    assert {it[1] for it in BREACHES} == set(POLICIES)
