"""Composition root of the gateway."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from trialbus.adapters.http import health_routes, serving
from trialbus.contracts.collections import (
    DELIVERIES,
    RESOURCE_HOMES,
    RESOURCE_KEEPERS,
    RESOURCES,
    WEBHOOKS,
)
from trialbus.kernel.errors import Refused
from trialbus.ports.cluster import ClusterApi
from trialbus.runtime.call_metrics import ClusterRequests, grpc_observer
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.runtime.settings import Settings
from trialbus.runtime.templates import default_template, interpreter
from trialbus.runtime.trial_keys import trial_keys
from trialbus_gateway.adapters.access.building import check_safety, door_of, tls_of
from trialbus_gateway.adapters.addresses import announce
from trialbus_gateway.adapters.http_metrics import CLUSTER
from trialbus_gateway.adapters.kubernetes import kubernetes_routes
from trialbus_gateway.adapters.routes import http_app
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding, FetchTemplate
from trialbus_gateway.app.custom_resources import CustomResources
from trialbus_gateway.app.following import Following
from trialbus_gateway.app.guarded_ports import guarded
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.port_metrics import ObservedHttp, refusals_of
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.shipping import Shipping
from trialbus_gateway.app.showing import Showing
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.app.working import Working


async def build(parts: Parts) -> Behaviour:
    """One task holds both servers: they come and go together. Raises Unsafe, TrialKeysMissing."""
    settings, leaving = parts.settings, AsyncExitStack()
    keys, tls = partial(trial_keys, settings), tls_of(settings)
    door = await door_of(settings, parts.clock, parts.store, leaving, keys)
    door.on_refusal = refusals_of(parts.telemetry)
    parts = guarded(parts)
    questions, cluster = questions_of(parts), await cluster_of(parts, leaving)
    fetch = fetch_template_of(parts, cluster)
    commanding = Commanding(parts, catalogue_of(settings), fetch_template=fetch)
    working, changes = Working(parts), Changes(parts)
    ingress = Ingress(parts, commanding, questions, working)
    webhooks = await webhooks_of(parts, leaving)
    custom_resources = custom_resources_of(parts, commanding, changes, cluster)
    tasks = (webhooks.run, ingress.ends.run, *custom_resources)

    def ready() -> bool:
        return parts.bus.connected and parts.store.connected

    app = http_app(
        questions,
        commanding,
        health_routes(ready, parts.telemetry.registry if settings.metrics else None),
        ingress=ingress,
        working=working,
        shipping=Shipping(parts),
        webhooks=webhooks,
        kubernetes=kubernetes_routes(Showing(parts, commanding, changes)),
        listens_on=settings.host,
        door=door,
        first=await before_the_door(parts, leaving),
        observer=ObservedHttp(parts.telemetry, parts.clock, passed_on=CLUSTER),
        tracing=parts.telemetry.tracing,
    )

    async def listen() -> None:
        # Loaded here, in the gateway's own process: gRPC does not survive a fork.
        forwarding: Any = import_module("trialbus_gateway.adapters.grpc_forwarding")
        async with (
            serving(app, host=settings.host, port=settings.http_port, tls=tls) as http_port,
            forwarding.serving_gateway(
                ready,
                working,
                door,
                find_trial=questions.trial,
                host=settings.host,
                port=settings.grpc_port,
                data_dir=settings.data_dir,
                given=grpc_addresses(settings),
                observe=grpc_observer(parts.telemetry),
                tracing=parts.telemetry.tracing,
            ) as grpc_port,
        ):
            _tell_addresses(parts, http=http_port, grpc=grpc_port, encrypted=tls is not None)
            try:
                await asyncio.Event().wait()
            finally:
                # Watches end in good order before the server is told to.
                await changes.close()

    return Behaviour(tasks=(listen, *tasks), close=leaving.aclose)


def _tell_addresses(parts: Parts, *, http: int, grpc: int, encrypted: bool) -> None:
    announce(
        parts.settings.data_dir,
        host=parts.settings.host,
        http_port=http,
        grpc_port=grpc,
        scheme="https" if encrypted else "http",
    )
    parts.telemetry.log.info("listening", http=http, grpc=grpc)


def questions_of(parts: Parts) -> Questions:
    settings = parts.settings
    return Questions(
        parts,
        default=default_template(settings),
        interpreter=interpreter(settings),
        following=Following(parts),
    )


async def before_the_door(parts: Parts, leaving: AsyncExitStack) -> list[Middleware]:
    """What is the API server's to answer. leaving: what has to be closed with the service. Raises
    Refused: the kubeconfig or the credentials cannot be read."""
    settings = parts.settings
    if not settings.forward_kubernetes:
        return []
    forwarding: Any = import_module("trialbus_gateway.adapters.kubernetes.forwarding")
    known: Any = import_module("trialbus.adapters.kubernetes_api.credentials")
    cluster = (await known.credentials_of(settings, parts.clock)).configuration
    client = await leaving.enter_async_context(
        forwarding.cluster_client(cluster.host, cluster.ssl_ca_cert)
    )
    return [Middleware(forwarding.ForwardingToCluster, client=client)]


async def cluster_of(parts: Parts, leaving: AsyncExitStack) -> ClusterApi | None:
    """None: none is needed. leaving: what has to be closed with the service. Raises Refused."""
    settings = parts.settings
    if not (settings.custom_resources or settings.place == "kubernetes"):
        return None
    # Loaded only where it is needed: the client of a cluster is large.
    resources: Any = import_module("trialbus_gateway.adapters.custom_resources")
    try:
        api: ClusterApi = await resources.open_cluster(
            settings, clock=parts.clock, observer=ClusterRequests(parts.telemetry)
        )
    except Refused as refused:
        if settings.custom_resources:
            raise
        # A gateway without an account of its own misses the templates in ConfigMaps alone.
        parts.telemetry.log.info("no ConfigMaps are read", reason=str(refused))
        return None
    leaving.push_async_callback(api.close)
    return api


def fetch_template_of(parts: Parts, cluster: ClusterApi | None) -> FetchTemplate | None:
    """None: templates that are only named are files."""
    if cluster is None or parts.settings.place != "kubernetes":
        return None
    resources: Any = import_module("trialbus_gateway.adapters.custom_resources")
    fetch: FetchTemplate = resources.ClusterTemplates(cluster).fetch
    return fetch


def custom_resources_of(
    parts: Parts, commanding: Commanding, changes: Changes, cluster: ClusterApi | None
) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What keeps the cluster's objects and the store in step, if that is wanted."""
    if cluster is None or not parts.settings.custom_resources:
        return ()
    resources: Any = import_module("trialbus_gateway.adapters.custom_resources")
    namespaces = parts.settings.kubernetes_namespaces
    kept = CustomResources(
        parts,
        commanding,
        changes,
        cluster,
        lambda: resources.ExperimentFeed(cluster, namespaces, parts.clock),
        namespaces=resources.kept_namespaces(namespaces),
        accept=parts.settings.accept_cluster,
    )
    return (kept.run,)


async def webhooks_of(parts: Parts, leaving: AsyncExitStack) -> Webhooks:
    """leaving: what has to be closed with the service."""
    if not parts.settings.webhooks_file:
        return Webhooks(parts)
    # Loaded only where it is needed: an HTTP client is large.
    http: Any = import_module("trialbus_gateway.adapters.webhook_posting")
    file = Path(parts.settings.webhooks_file)
    post = await leaving.enter_async_context(http.posting())
    return Webhooks(parts, lambda: http.load_targets(file), post)


def grpc_addresses(settings: Settings) -> Mapping[str, str]:
    """By service, "" where it announces itself."""
    return {
        "metrics_collector": settings.metrics_collector_grpc,
        "suggestion": settings.suggestion_grpc,
        "early_stopping": settings.early_stopping_grpc,
    }


service = ServiceDefinition(
    name="gateway",
    owns=(WEBHOOKS, DELIVERIES, RESOURCES, RESOURCE_KEEPERS, RESOURCE_HOMES),
    build=build,
    check=check_safety,
)
