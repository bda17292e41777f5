"""Reading an experiment, changing what was read, and writing it back as a whole.

Two that edit at once lose nothing of each other's: a write says which revision it was made from,
and one that comes too late is made again from what is there then.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trialbus.contracts.commands import NOT_THERE, Verb
from trialbus.contracts.katib.times import rfc3339
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import is_name
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Accepted, Commanding, Conditions
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import AnotherByNow, NotThere, Unreadable

Object = dict[str, Any]
Source = Callable[[Object], Object]
# Makes what is wanted out of the object that is there; asked again when somebody was faster.
# The second argument adds the defaults to an object, and raises Refused for one that is wrong.
Change = Callable[[Object, Source], Object]

_WRITTEN_BY_US = ("uid", "resourceVersion", "generation", "creationTimestamp")


class AlreadyThere(Exception):
    """The name is taken."""


class EditedSince(Exception):
    """Somebody changed it since the version that the writer knows."""


class Editing:
    def __init__(self, parts: Parts, commanding: Commanding, changes: Changes) -> None:
        self._clock = parts.clock
        self._documents = Documents(parts.store)
        self._commanding = commanding
        self._changes = changes

    def now(self) -> str:
        return rfc3339(self._clock.now())

    def source(self, obj: Object) -> Object:
        """A new object with its defaults. Raises Refused."""
        return self._commanding.judge(obj, None).source

    async def create(self, namespace: str, obj: Object, *, dry_run: bool) -> Object:
        """Raises AlreadyThere, Refused."""
        name = str(obj["metadata"]["name"])
        try:
            accepted = await self._send(namespace, name, obj, _only(obj, NOT_THERE, None, dry_run))
        except AnotherByNow as error:
            raise AlreadyThere(name) from error
        if dry_run:
            return self._imagined({}, obj, accepted)
        return await self._shown({}, obj, accepted)

    async def change(self, namespace: str, name: str, change: Change, *, dry_run: bool) -> Object:
        """Raises NotThere, EditedSince, AnotherByNow, Refused, and whatever `change` raises."""
        for _ in range(MAX_COMMIT_RETRIES):
            # First, so that what is shown is never older than the revision.
            state = await self._living(namespace, name)
            there = await self._changes.experiment(namespace, name)
            wanted = change(there, _source_over(self._commanding, state))
            self._check(there, wanted)
            try:
                only = _only(wanted, state.revision, state.id, dry_run)
                accepted = await self._send(namespace, name, wanted, only)
            except AnotherByNow:
                continue
            if dry_run:
                return self._imagined(there, wanted, accepted)
            return await self._shown(there, wanted, accepted)
        raise EditedSince(name)

    async def delete(
        self,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
        keep_history: bool = False,
    ) -> Object:
        """The object that was there. Raises NotThere, EditedSince, AnotherByNow."""
        state = await self._living(namespace, name)
        there = await self._changes.experiment(namespace, name)
        if uid not in (None, state.id):
            raise AnotherByNow(_other_uid(uid, state.id))
        if resource_version and self._changes.edited_since(there, resource_version):
            raise EditedSince(name)
        revision = state.revision if resource_version else None
        only = Conditions(uid=state.id, revision=revision, dry_run=dry_run)
        try:
            accepted = await self._commanding.tell(
                namespace, name, Verb.DELETE, only=only, keep_history=keep_history
            )
        except AnotherByNow:
            # Where somebody else was faster with the same, there is nothing any more.
            await self._living(namespace, name)
            raise
        if not dry_run:
            self._changes.hint(accepted.uid)
        return there

    async def _living(self, namespace: str, name: str) -> Experiment:
        """Raises NotThere, also for what nothing can be called."""
        if not (is_name(namespace) and is_name(name)):
            raise NotThere(f"there is no experiment {namespace}/{name}")
        return await self._documents.living(namespace, name)

    def _check(self, there: Object, wanted: Object) -> None:
        """What the writer says of the object that it means."""
        old, new = there["metadata"], wanted["metadata"]
        if (new.get("uid") or old["uid"]) != old["uid"]:
            raise AnotherByNow(_other_uid(new["uid"], old["uid"]))
        version = new.get("resourceVersion") or old["resourceVersion"]
        if not isinstance(version, str):
            raise Unreadable(f"metadata.resourceVersion: a text is needed, not {version!r:.100}")
        if version != old["resourceVersion"] and self._changes.edited_since(there, version):
            raise EditedSince(str(old["name"]))

    async def _send(self, namespace: str, name: str, obj: Object, only: Conditions) -> Accepted:
        return await self._commanding.apply(namespace, name, _bare(obj), only=only)

    async def _shown(self, there: Object, wanted: Object, accepted: Accepted) -> Object:
        """As it is after the commit; it may have been deleted meanwhile. That it cannot be read
        is no failure any more: who repeats a creation would be told that the name is taken."""
        self._changes.hint(accepted.uid)
        metadata = wanted["metadata"]
        try:
            found = await self._changes.experiment(metadata["namespace"], metadata["name"])
        except (NotThere, Transient):
            return self._imagined(there, wanted, accepted)
        if found["metadata"]["uid"] != accepted.uid:
            return self._imagined(there, wanted, accepted)
        return found

    def _imagined(self, there: Object, wanted: Object, accepted: Accepted) -> Object:
        """As it would be: `wanted` with what the server writes."""
        source = {**wanted, "metadata": dict(wanted["metadata"])}
        source.pop("status", None)
        for name in _WRITTEN_BY_US:
            source["metadata"].pop(name, None)
        written = there.get("metadata") or {
            "uid": accepted.uid,
            "generation": 1,
            "creationTimestamp": self.now(),
        }
        source["metadata"] |= {name: written[name] for name in _WRITTEN_BY_US if name in written}
        if there and there["spec"] != wanted["spec"]:
            source["metadata"]["generation"] += 1
        return {**source, "status": there["status"]} if there else source


def _only(obj: Object, revision: int, uid: str | None, dry_run: bool) -> Conditions:
    return Conditions(
        uid=uid,
        revision=revision,
        exact=True,
        managed_fields=obj["metadata"].get("managedFields"),
        dry_run=dry_run,
    )


def _source_over(commanding: Commanding, state: Experiment) -> Source:
    """What belongs to the server stays on the object: it says which one is meant."""

    def source(obj: Object) -> Object:
        found = commanding.judge(_bare(obj), state).source
        told: Mapping[str, Any] = obj.get("metadata", {})
        kept = {
            name: told[name]
            for name in (*_WRITTEN_BY_US, "managedFields")
            if told.get(name) is not None
        }
        return {**found, "metadata": {**found["metadata"], **kept}}

    return source


def _bare(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "status"}


def _other_uid(wanted: object, found: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted!s:.100}, UID in object meta: {found}"
