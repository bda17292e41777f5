"""`trialbus doctor --cluster`: what a cluster gives the services, and what it withholds."""

import asyncio
from collections.abc import Iterable

from trialbus.adapters.kubernetes_api import namespaces_of, open_cluster
from trialbus.cli.doctor import Check
from trialbus.contracts import shipping
from trialbus.contracts.cluster_permissions import (
    PERMISSIONS,
    TRIAL_KIND_VERSIONS,
    ClusterPermission,
    When,
)
from trialbus.kernel.errors import Refused, Transient
from trialbus.ports.cluster import ClusterApi, ClusterError, Forbidden, NoSuchKind, Resource
from trialbus.runtime.settings import Settings

CUSTOM_RESOURCES = ("Experiment", "Trial", "Suggestion")
CUSTOM_RESOURCES_VERSION = "kubeflow.org/v1beta1"


async def checks(settings: Settings, services: Iterable[str]) -> list[Check]:
    """Of the account that the settings name, for these services; nothing is made or changed."""
    try:
        api = await open_cluster(settings)
    except Refused as error:
        remedy = "set TRIALBUS_KUBECONFIG, or run this in a pod of a service"
        return [Check(name="credentials", good=False, found=str(error), remedy=remedy)]
    try:
        reached = await _server(api, settings)
        if not reached.good:
            return [reached]
        return [
            reached,
            *await _permissions(api, settings, frozenset(services)),
            *await _kinds(api, settings),
            *_settings(settings),
        ]
    except (Transient, ClusterError) as error:
        return [Check(name="API server", good=False, found=str(error), remedy="try again")]
    finally:
        await api.close()


async def _server(api: ClusterApi, settings: Settings) -> Check:
    name = "API server"
    address = settings.kubeconfig or settings.kubernetes_api
    try:
        await api.resource("batch/v1", "Job")
    except Transient as error:
        remedy = "see that the address is right, and that a NetworkPolicy lets us there"
        return Check(name=name, good=False, found=f"{address}: {error}", remedy=remedy)
    except Forbidden as error:
        remedy = "it does not take our credentials: renew the kubeconfig or the token"
        return Check(name=name, good=False, found=f"{address}: {error}", remedy=remedy)
    except NoSuchKind:
        remedy = "it serves no batch/v1: is this a Kubernetes API server?"
        return Check(name=name, good=False, found=address, remedy=remedy)
    return Check(name=name, good=True, found=f"answers ({address})")


async def _permissions(
    api: ClusterApi, settings: Settings, services: frozenset[str]
) -> list[Check]:
    when = _conditions(settings)
    namespaces = namespaces_of(settings.kubernetes_namespaces)
    wanted = [
        (permission, namespace)
        for permission in PERMISSIONS
        if permission.service in services and permission.when in when
        for namespace in ((None,) if permission.cluster_scope else namespaces)
    ]
    return list(await asyncio.gather(*(_permission(api, *each) for each in wanted)))


def _conditions(settings: Settings) -> frozenset[When]:
    """Whoever asks about a cluster means to run trials on it."""
    when = {When.PLACE}
    if settings.custom_resources:
        when.add(When.CUSTOM_RESOURCES)
    if settings.kubernetes_audience:
        when.add(When.KUBERNETES_AUDIENCE)
    return frozenset(when)


async def _permission(
    api: ClusterApi, permission: ClusterPermission, namespace: str | None
) -> Check:
    plural, _, subresource = permission.resource.partition("/")
    resource = Resource(group=permission.group, version="", kind="", plural=plural, namespaced=True)
    answers = await asyncio.gather(
        *(api.may(verb, resource, namespace, subresource=subresource) for verb in permission.verbs)
    )
    denied = [verb for verb, may in zip(permission.verbs, answers, strict=True) if not may]
    where = f"in {namespace}" if namespace else "in the cluster"
    shown = f"{permission.resource}.{permission.group}".rstrip(".")
    remedy = f"let {permission.service} {', '.join(denied)} them, to {permission.why}"
    return Check(
        name=f"{permission.service}: {shown} {where}",
        good=not denied,
        found=" ".join(verb for verb in permission.verbs if verb not in denied) or "nothing",
        remedy=remedy if denied else "",
    )


async def _kinds(api: ClusterApi, settings: Settings) -> list[Check]:
    known = {(CUSTOM_RESOURCES_VERSION, kind) for kind in CUSTOM_RESOURCES}
    known |= {(version, kind) for kind, version in TRIAL_KIND_VERSIONS.items()}
    served = {each for each in sorted(known) if await _is_served(api, *each)}
    missing = [kind for kind in CUSTOM_RESOURCES if (CUSTOM_RESOURCES_VERSION, kind) not in served]
    there = [kind for kind in CUSTOM_RESOURCES if kind not in missing]
    trials = [kind for kind, version in TRIAL_KIND_VERSIONS.items() if (version, kind) in served]
    remedy = f"apply the definitions (CRDs) of {', '.join(missing)}: kubectl apply -f deploy/crds"
    return [
        Check(
            name="custom resources",
            good=not missing,
            found=", ".join(there) or "none",
            remedy=remedy if missing else "",
            needed=settings.custom_resources,
        ),
        Check(name="kinds of trials", good=True, found=", ".join(trials)),
    ]


async def _is_served(api: ClusterApi, api_version: str, kind: str) -> bool:
    try:
        await api.resource(api_version, kind)
    except NoSuchKind:
        return False
    return True


def _settings(settings: Settings) -> list[Check]:
    wrapper = settings.wrapper_image
    gateway = settings.trial_gateway_url
    wrong = shipping.no_address(gateway) if wrapper and gateway else ""
    return [
        Check(
            name="wrapper image",
            good=bool(wrapper),
            found=wrapper or "none",
            remedy="" if wrapper else "set TRIALBUS_WRAPPER_IMAGE; until then logs are followed",
            needed=False,
        ),
        Check(
            name="gateway for trials",
            good=bool(gateway) and not wrong,
            found=f"{gateway} {wrong}".rstrip() or "none",
            remedy=""
            if gateway and not wrong
            else "set TRIALBUS_TRIAL_GATEWAY_URL to its plain HTTP address in the cluster",
            needed=bool(wrapper),
        ),
    ]
