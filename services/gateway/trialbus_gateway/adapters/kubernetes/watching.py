"""Watches: one JSON line for each change, for as long as both sides stay."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.schemas import Kind as Schema
from trialbus.kernel.errors import Transient
from trialbus_gateway.adapters.answers_json import to_json
from trialbus_gateway.adapters.kubernetes.list_options import ListOptions, lasting_s
from trialbus_gateway.adapters.kubernetes.status_objects import expired, unavailable
from trialbus_gateway.adapters.kubernetes.tables import (
    META_GROUP,
    SCHEMAS,
    Form,
    Shape,
    shown,
)
from trialbus_gateway.adapters.streams import LiveAnswer
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_listing import ChangesListing, Scope
from trialbus_gateway.app.failures import Expired
from trialbus_gateway.core.change_log import Change, ChangeType, Kind, Object
from trialbus_gateway.core.resource_versions import version_of

# As often as the API server sends them.
BOOKMARK_S = 60.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Watching:
    def __init__(self, changes: Changes, listing: ChangesListing) -> None:
        self._changes = changes
        self._listing = listing

    async def answer(self, kind: Kind, form: Form, scope: Scope, options: ListOptions) -> Response:
        """Raises Transient; what is found out later is told as an event of type ERROR."""
        # While a failure can still be answered as one.
        await self._changes.index()
        watch = _Watch(self._changes, self._listing, kind, form, scope, options)
        return LiveAnswer(watch.lines(), "application/json", "watch")


class _Watch:
    def __init__(
        self,
        changes: Changes,
        listing: ChangesListing,
        kind: Kind,
        form: Form,
        scope: Scope,
        options: ListOptions,
    ) -> None:
        self._changes = changes
        self._listing = listing
        self._kind = kind
        self._form = form
        self._scope = scope
        self._options = options
        self._ends_at = _now() + lasting_s(options.timeout_s)
        # Only the first table of a watch defines the columns.
        self._columns = True

    async def lines(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._events()) as events:
                async for line in events:
                    yield line
        except Expired as error:
            yield _line("ERROR", expired(str(error)).to_json())
        except Transient as error:
            told = unavailable(f"a server is away, try again: {error}")
            yield _line("ERROR", told.to_json())

    async def _events(self) -> AsyncGenerator[bytes, None]:
        since = self._options.version
        if self._options.initial:
            page = await self._listing.page(
                self._kind, self._scope, limit=None, whole=self._form.whole
            )
            since = page.version
            for view in page.items:
                yield self._told(ChangeType.ADDED, view)
            if self._options.with_end:
                yield self._bookmark(since, _INITIAL_END)
        elif since in ("", "0"):
            # Only what is to come.
            since = version_of((await self._changes.index()).log.newest)
        changes = self._changes.follow(self._kind, since, self._pause_s)
        async with aclosing(changes):
            async for change in changes:
                if isinstance(change, str):
                    if self._options.bookmarks:
                        yield self._bookmark(change)
                elif (type_ := _type_for(self._scope, change)) is not None:
                    view = await self._changes.whole(change) if self._form.whole else change.view
                    yield self._told(type_, view)
                if _now() >= self._ends_at:
                    return

    def _pause_s(self) -> float:
        return max(0.001, min(BOOKMARK_S, self._ends_at - _now()))

    def _told(self, type_: ChangeType, view: Object) -> bytes:
        content = shown(SCHEMAS[self._kind], view, self._form, columns=self._columns)
        self._columns = False
        return _line(type_.value, content)

    def _bookmark(self, version: str, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Object = {"resourceVersion": version, "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return _line("BOOKMARK", _empty(SCHEMAS[self._kind], self._form, metadata))


def _type_for(scope: Scope, change: Change) -> ChangeType | None:
    """What a change is to somebody who sees only a part; None: nothing."""
    metadata = change.view["metadata"]
    namespace, name = str(metadata["namespace"]), str(metadata["name"])
    if scope.namespace not in (None, namespace) or not scope.fits_name(namespace, name):
        return None
    was = change.before is not None and scope.fits(change.before)
    if change.type is ChangeType.DELETED:
        return ChangeType.DELETED if was else None
    if scope.fits(metadata.get("labels") or {}):
        return change.type if was else ChangeType.ADDED
    return ChangeType.DELETED if was else None


def _empty(schema: Schema, form: Form, metadata: Object) -> Object:
    """An object that holds no more than a version."""
    if form.shape is Shape.OBJECT:
        return {"kind": schema.name, "apiVersion": API_VERSION, "metadata": metadata}
    content: Object = {
        "kind": form.shape.value,
        "apiVersion": f"{META_GROUP}/{form.version}",
        "metadata": metadata,
    }
    if form.shape is Shape.TABLE:
        content |= {"columnDefinitions": None, "rows": []}
    return content


def _line(type_: str, content: Object) -> bytes:
    return to_json({"type": type_, "object": content}) + b"\n"


def _now() -> float:
    return asyncio.get_running_loop().time()
