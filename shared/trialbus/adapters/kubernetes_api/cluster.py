"""The ClusterApi port: each of its calls as the request that it is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from trialbus.adapters.kubernetes_api.connections import Connection, Request
from trialbus.adapters.kubernetes_api.discovery import Discovery
from trialbus.adapters.kubernetes_api.paths import log_path, resource_path
from trialbus.adapters.kubernetes_api.streams import log_pieces, watch_events
from trialbus.kernel import limits
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import (
    NoSuchKind,
    Object,
    Page,
    Patch,
    Resource,
    WatchEvent,
)

FIELD_MANAGER = "trialbus"
_REVIEW_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubernetesApi:
    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._discovery = Discovery(connection, clock)

    async def resource(self, api_version: str, kind: str) -> Resource:
        return await self._discovery.resource(api_version, kind)

    async def may(
        self, verb: str, resource: Resource, namespace: str | None, *, subresource: str = ""
    ) -> bool:
        asked = {"verb": verb, "group": resource.group, "resource": resource.plural}
        if namespace is not None:
            asked["namespace"] = namespace
        if subresource:
            asked["subresource"] = subresource
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        request = Request(verb="create", method="POST", path=_REVIEW_PATH, body=review)
        answer = await self._connection.object(request)
        return bool((answer.get("status") or {}).get("allowed"))

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        path = resource_path(resource, namespace, name)
        return await self._object(resource, Request(verb="get", method="GET", path=path))

    async def create(
        self, resource: Resource, namespace: str | None, body: Object, *, dry_run: bool = False
    ) -> Object:
        query = {"fieldManager": FIELD_MANAGER}
        if dry_run:
            query["dryRun"] = "All"
        path = resource_path(resource, namespace)
        request = Request(
            verb="create", method="POST", path=path, query=query, body=body, creating=True
        )
        return await self._object(resource, request)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object | Sequence[Mapping[str, Any]],
        *,
        kind: Patch = Patch.MERGE,
        subresource: str = "",
    ) -> Object:
        query = {"fieldManager": FIELD_MANAGER}
        if kind is Patch.APPLY:
            query["force"] = "true"
        path = resource_path(resource, namespace, name, subresource)
        request = Request(
            verb="patch",
            method="PATCH",
            path=path,
            query=query,
            body=body,
            content_type=kind.value,
        )
        return await self._object(resource, request)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
        grace_s: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        path = resource_path(resource, namespace, name)
        await self._object(
            resource, Request(verb="delete", method="DELETE", path=path, body=options)
        )

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = limits.MAX_PAGE_ITEMS,
        next: str = "",
    ) -> Page:
        wanted = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit),
            "continue": next,
        }
        query = {key: text for key, text in wanted.items() if text}
        path = resource_path(resource, namespace)
        request = Request(verb="list", method="GET", path=path, query=query)
        return _page(resource, await self._object(resource, request))

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout_s: float,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        path = resource_path(resource, namespace)
        request = Request(verb="watch", method="GET", path=path, query=query)
        within_s = timeout_s + limits.CLUSTER_WATCH_GRACE_S
        async with (
            self._noticing(resource),
            self._connection.stream(request) as reader,
            aclosing(watch_events(reader, within_s=within_s, closed=self._closed)) as events,
        ):
            yield events

    async def log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
        since: str = "",
        timestamps: bool = False,
    ) -> bytes:
        query = _log_query(container=container, since=since, timestamps=timestamps)
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        if limit_bytes is not None:
            query["limitBytes"] = str(limit_bytes)
        request = Request(verb="log", method="GET", path=log_path(namespace, pod), query=query)
        return await self._connection.call(request)

    @asynccontextmanager
    async def follow_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        since: str = "",
        timestamps: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        query = _log_query(container=container, since=since, timestamps=timestamps)
        query["follow"] = "true"
        request = Request(verb="log", method="GET", path=log_path(namespace, pod), query=query)
        silence_s = limits.CLUSTER_LOG_SILENCE_S
        async with (
            self._connection.stream(request, begins_within_s=silence_s) as reader,
            aclosing(log_pieces(reader, silence_s=silence_s, closed=self._closed)) as pieces,
        ):
            yield pieces

    async def close(self) -> None:
        await self._connection.close()

    def _closed(self) -> bool:
        return self._connection.closed

    async def _object(self, resource: Resource, request: Request) -> Object:
        async with self._noticing(resource):
            return await self._connection.object(request)

    @asynccontextmanager
    async def _noticing(self, resource: Resource) -> AsyncIterator[None]:
        """A kind that has gone is looked for anew when it is next asked for."""
        try:
            yield
        except NoSuchKind:
            self._discovery.forget(resource.api_version)
            raise


def _page(resource: Resource, answer: Mapping[str, Any]) -> Page:
    metadata = answer.get("metadata") or {}
    # Lists of built-in kinds leave out what each item has in a watch.
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return Page(
        items=tuple({**kind, **item} for item in answer.get("items") or ()),
        resource_version=str(metadata.get("resourceVersion") or ""),
        next=str(metadata.get("continue") or ""),
        remaining=metadata.get("remainingItemCount"),
    )


def _log_query(*, container: str, since: str, timestamps: bool) -> dict[str, str]:
    wanted = {
        "container": container,
        "sinceTime": since,
        "timestamps": "true" if timestamps else "",
    }
    return {key: text for key, text in wanted.items() if text}
