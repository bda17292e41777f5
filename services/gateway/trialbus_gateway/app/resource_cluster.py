"""The cluster's Experiments, Suggestions and Trials, as the sync reads and writes them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.views import EXPERIMENT_LABEL
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterApi,
    ClusterError,
    Conflict,
    NotFound,
    Page,
    Resource,
)
from trialbus_gateway.core.custom_resources import merge_diff, without_null
from trialbus_gateway.core.resource_objects import child_object, status_of

Object = dict[str, Any]

EXPERIMENT = "Experiment"
SUGGESTION = "Suggestion"
TRIAL_KIND = "Trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Uids of the Experiment objects of one name, and the version of the cluster's state that this
    is of; 0: it cannot be compared."""

    uids: frozenset[str]
    newest: int


class ResourceCluster:
    def __init__(self, api: ClusterApi) -> None:
        self._api = api

    async def kind(self, name: str) -> Resource:
        """Raises NoSuchKind: the definitions are not installed."""
        return await self._api.resource(API_VERSION, name)

    async def experiment(self, namespace: str, name: str) -> Object | None:
        return await self._get(EXPERIMENT, namespace, name)

    async def named(self, namespace: str, name: str) -> Named:
        """By a list: unlike the answer to a get it says that the kind is served, and of when it
        is."""
        kind = await self.kind(EXPERIMENT)
        selector = f"metadata.name={name}"
        page = await self._api.list(kind, namespace, field_selector=selector)
        uids = frozenset(str(it["metadata"]["uid"]) for it in page.items)
        return Named(uids=uids, newest=_version(page))

    async def newest(self, namespace: str | None) -> int:
        """The version of the cluster's state, 0: it cannot be compared. None: as all namespaces
        are listed."""
        return _version(await self._api.list(await self.kind(EXPERIMENT), namespace, limit=1))

    async def namespace_uid(self, name: str) -> str:
        """ "" of one that is not there. Raises Forbidden."""
        try:
            found = await self._api.get(await self._api.resource("v1", "Namespace"), None, name)
        except NotFound:
            return ""
        return str(found["metadata"]["uid"])

    async def create_experiment(self, obj: Object) -> Object:
        """Raises AlreadyExists, Invalid, NotFound: there is no such namespace."""
        kind = await self.kind(EXPERIMENT)
        return await self._api.create(kind, obj["metadata"]["namespace"], obj)

    async def edit_experiment(self, resource: Mapping[str, Any], patch: Object) -> Object:
        """Raises Conflict if somebody has changed it since it was read, NotFound, Invalid."""
        version = {"resourceVersion": resource["metadata"]["resourceVersion"]}
        whole = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
        kind, metadata = await self.kind(EXPERIMENT), resource["metadata"]
        return await self._api.patch(kind, metadata["namespace"], metadata["name"], whole)

    async def delete_experiment(self, namespace: str, name: str, uid: str) -> None:
        """Its Suggestion and Trials go with it. One that has gone, or is another by now, is no
        failure."""
        kind = await self.kind(EXPERIMENT)
        with suppress(NotFound, Conflict):
            await self._api.delete(kind, namespace, name, uid=uid)

    async def show(self, kind: str, there: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        """Give an object this status, if it has another. One that has gone is no failure. Raises
        Conflict if it is not any more as `there` says, where that has a resourceVersion: a status
        must not be a namesake's."""
        patch = merge_diff(without_null(there.get("status") or {}), status)
        if not patch:
            return
        metadata, body = there["metadata"], {"status": patch}
        if version := metadata.get("resourceVersion"):
            body["metadata"] = {"resourceVersion": version}
        with suppress(NotFound):
            await self._api.patch(
                await self.kind(kind),
                metadata["namespace"],
                metadata["name"],
                body,
                subresource="status",
            )

    async def show_child(
        self,
        kind: str,
        view: Mapping[str, Any],
        owner: Mapping[str, Any],
        there: Mapping[str, Any] | None,
    ) -> str:
        """Make a Suggestion or Trial what the view says. there: the object as it is, None: it is
        believed to be missing. The uid of the object, "" of one that is none of ours. Raises
        Conflict."""
        wanted = child_object(view, owner)
        if there is None:
            there = await self._create_child(kind, wanted)
        if there is None:
            return ""
        if patch := _child_edits(there, wanted):
            metadata = wanted["metadata"]
            try:
                there = await self._api.patch(
                    await self.kind(kind), metadata["namespace"], metadata["name"], patch
                )
            except NotFound:
                return ""
        await self.show(kind, there, status_of(view))
        return str(there["metadata"]["uid"])

    async def _create_child(self, kind: str, wanted: Object) -> Object | None:
        """None: the object cannot be ours."""
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        try:
            return await self._api.create(await self.kind(kind), namespace, wanted)
        except AlreadyExists:
            there = await self._get(kind, namespace, name)
        return there if there is not None and owned_by(there, owner_uid(wanted)) else None

    async def child(self, kind: str, namespace: str, name: str, owner: str) -> Object | None:
        """If it belongs to the Experiment object with the uid `owner`."""
        there = await self._get(kind, namespace, name)
        return there if there is not None and owned_by(there, owner) else None

    async def trials(
        self, namespace: str, experiment: str, owner: str
    ) -> AsyncGenerator[Object, None]:
        """All that belong to an Experiment object."""
        kind, after = await self.kind(TRIAL_KIND), ""
        while True:
            page = await self._api.list(
                kind,
                namespace,
                label_selector=f"{EXPERIMENT_LABEL}={experiment}",
                next=after,
            )
            for item in page.items:
                if owned_by(item, owner):
                    yield item
            if not page.next:
                return
            after = page.next

    async def delete_trial(self, namespace: str, name: str, uid: str) -> None:
        kind = await self.kind(TRIAL_KIND)
        with suppress(NotFound, Conflict):
            await self._api.delete(kind, namespace, name, uid=uid)

    async def tell(self, event: Object) -> str:
        """An event beside its object; why it could not be told, "" if it was: it is no more than a
        courtesy."""
        try:
            kind = await self._api.resource("v1", "Event")
            await self._api.create(kind, event["metadata"]["namespace"], event)
        except AlreadyExists:
            return ""
        except ClusterError as error:
            return str(error)
        return ""

    async def _get(self, kind: str, namespace: str, name: str) -> Object | None:
        resource = await self.kind(kind)
        try:
            return await self._api.get(resource, namespace, name)
        except NotFound:
            return None


def _version(page: Page) -> int:
    return int(page.resource_version) if page.resource_version.isdigit() else 0


def owner_uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["ownerReferences"][0]["uid"])


def owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    return any(it.get("uid") == uid for it in obj["metadata"].get("ownerReferences") or ())


def _child_edits(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """What is not ours of labels and annotations stays."""
    spec = merge_diff(without_null(there.get("spec") or {}), wanted["spec"])
    metadata = {}
    for field in ("labels", "annotations"):
        mine = there["metadata"].get(field) or {}
        theirs = wanted["metadata"].get(field) or {}
        missing = {name: text for name, text in theirs.items() if mine.get(name) != text}
        if missing:
            metadata[field] = missing
    patch = {"spec": spec, "metadata": metadata}
    return {name: part for name, part in patch.items() if part}
