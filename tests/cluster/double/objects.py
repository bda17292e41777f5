"""What the verbs do to stored objects: create, get, update, patch, delete."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.cluster.double import admission, errors
from tests.cluster.double.errors import Cause
from tests.cluster.double.patches import apply_patch, json_patch, merge_patch, strategic_patch
from tests.cluster.double.policies import check_policies
from tests.cluster.double.resources import Kind, Registry, Version
from tests.cluster.double.schemas import metadata_node
from tests.cluster.double.state import Event, Shelf, State, Stored

Object = dict[str, Any]
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SERVER_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "selfLink")
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one call is about. namespace "" of kinds without one."""

    kind: Kind
    version: Version
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    dry_run: bool = False
    validation: str = "Warn"
    manager: str = "unknown"

    @property
    def described(self) -> tuple[str, str, str]:
        return self.kind.group, self.kind.plural, self.name


@dataclass(slots=True)
class Objects:
    """now: seconds since the epoch, of the double's own clock."""

    state: State
    registry: Registry
    now: Callable[[], float]
    letters: random.Random
    warnings: list[str] = field(default_factory=list)
    # What each manager applied last, for server-side apply.
    applied: dict[tuple[str, str], Object] = field(default_factory=dict)

    def timestamp(self) -> str:
        return timestamp(self.now())

    def forget(self, shelf: Shelf, event: Event) -> None:
        """What was applied to an object goes with it."""
        if event.happened == "DELETED" and self.applied:
            meta = event.stored.obj["metadata"]
            place = (shelf.group, shelf.plural, meta.get("namespace", ""), meta["name"])
            for slot in [slot for slot in self.applied if slot[0] == "/".join(place)]:
                del self.applied[slot]

    def shelf(self, kind: Kind) -> Shelf:
        return self.state.shelf(kind.group, kind.plural)

    def stored(self, target: Target) -> Stored:
        found = self.shelf(target.kind).objects.get((target.namespace, target.name))
        if found is None:
            raise errors.not_found(*target.described)
        return found

    def new_uid(self) -> str:
        return str(uuid.UUID(int=self.letters.getrandbits(128), version=4))

    # -- create

    def create(self, target: Target, body: Object) -> Stored:
        body = self._decoded(target, body)
        meta = body["metadata"]
        self._check_names(target, meta)
        if meta.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name"):
            meta["name"] = meta["generateName"] + "".join(self.letters.choices(_LETTERS, k=5))
        self._check_namespace(target)
        if target.version.status and target.kind.plural != "namespaces":
            body.pop("status", None)
        for key in _SERVER_META:
            meta.pop(key, None)
        meta |= {
            "uid": self.new_uid(),
            "creationTimestamp": self.timestamp(),
            "generation": 1,
        }
        if not admission.has_generation(target.kind):
            del meta["generation"]
        body = admission.admitted(target, body, None, self)
        if (target.namespace, meta["name"]) in self.shelf(target.kind).objects:
            raise errors.already_exists(target.kind.group, target.kind.plural, meta["name"])
        check_policies(target, body, self)
        if target.dry_run:
            return Stored(body, self.state.version)
        return self.state.put(self.shelf(target.kind), body)

    def _decoded(self, target: Target, body: Object) -> Object:
        """A body of the right kind, with metadata of its own."""
        if not isinstance(body, dict):
            raise errors.bad_request("the object provided is unrecognized (must be of type Object)")
        wanted = target.kind.api_version(target.version.name)
        api_version, kind = body.get("apiVersion") or wanted, body.get("kind") or target.kind.kind
        if api_version != wanted:
            text = f"the API version in the data ({api_version}) does not match the expected"
            raise errors.bad_request(f"{text} API version ({wanted})")
        if kind != target.kind.kind:
            text = f"{target.kind.kind} in version {target.version.name!r} cannot be handled as a"
            raise errors.bad_request(f"{text} {target.kind.kind}: no kind {kind!r} is registered")
        meta = dict(body.get("metadata") or {})
        namespace = meta.get("namespace")
        if target.namespace:
            if namespace and namespace != target.namespace:
                text = "the namespace of the provided object does not match the namespace sent"
                raise errors.bad_request(f"{text} on the request")
            meta["namespace"] = target.namespace
        else:
            meta.pop("namespace", None)
        return {**body, "apiVersion": wanted, "kind": target.kind.kind, "metadata": meta}

    def _check_names(self, target: Target, meta: Object) -> None:
        if target.name and meta.get("name") not in (None, "", target.name):
            text = f"the name of the object ({meta['name']}) does not match the name on the URL"
            raise errors.bad_request(f"{text} ({target.name})")
        if not meta.get("name") and not meta.get("generateName"):
            message = "Required value: name or generateName is required"
            cause = Cause(reason="FieldValueRequired", message=message, field="metadata.name")
            raise errors.invalid(target.kind.group, target.kind.kind, "", [cause])

    def _check_namespace(self, target: Target) -> None:
        if not target.namespace:
            return
        found = self.state.get("", "namespaces", "", target.namespace)
        if found is None:
            raise errors.not_found("", "namespaces", target.namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {target.namespace} because it is"
            text = f"{why} being terminated"
            raise errors.forbidden(target.kind.group, target.kind.plural, target.name, text)

    # -- update and patch

    def update(self, target: Target, body: Object) -> Stored:
        current = self.stored(target)
        body = self._decoded(target, body)
        self._check_names(target, body["metadata"])
        return self._replaced(target, current, body)

    def _replaced(self, target: Target, current: Stored, body: Object) -> Stored:
        old, meta = current.obj, body["metadata"]
        self._preconditions(target, current, meta.get("uid"), meta.get("resourceVersion"))
        old_meta = old["metadata"]
        for key in (*_SERVER_META, "deletionGracePeriodSeconds"):
            meta.pop(key, None)
            if key in old_meta:
                meta[key] = old_meta[key]
        meta["name"], meta["resourceVersion"] = old_meta["name"], old_meta["resourceVersion"]
        body = self._only_the_part(target, old, body)
        body = admission.admitted(target, body, old, self)
        if admission.changes_generation(target, old, body):
            body["metadata"]["generation"] = old_meta.get("generation", 0) + 1
        if body == old:
            return current
        if target.dry_run:
            return Stored(body, current.version)
        return self._put_or_finish(target.kind, body)

    def _put_or_finish(self, kind: Kind, body: Object) -> Stored:
        """An object that was only waiting for its finalizers is gone without them."""
        meta, shelf = body["metadata"], self.shelf(kind)
        stored = self.state.put(shelf, body)
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            grace = meta.get("deletionGracePeriodSeconds") or 0
            if not grace:
                return self.state.remove(shelf, (meta.get("namespace", ""), meta["name"]))
        return stored

    @staticmethod
    def _only_the_part(target: Target, old: Object, body: Object) -> Object:
        if target.subresource == "status":
            meta = old["metadata"]
            if target.kind.builtin:
                # Labels and annotations may be written with the status of built-in kinds.
                kept = {k: body["metadata"].get(k) for k in ("labels", "annotations", "finalizers")}
                meta = {**meta, **{k: v for k, v in kept.items() if v is not None}}
            result = {**old, "metadata": dict(meta)}
            result.pop("status", None)
            return result | ({"status": body["status"]} if "status" in body else {})
        if target.version.status:
            body.pop("status", None)
            return body | ({"status": old["status"]} if "status" in old else {})
        return body

    def _preconditions(
        self, target: Target, current: Stored, uid: str | None, version: str | None
    ) -> None:
        meta = current.obj["metadata"]
        if uid and uid != meta["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            raise errors.conflict(*target.described, f"{why}{meta['uid']}")
        if version and version != meta["resourceVersion"]:
            raise errors.conflict(*target.described, errors.MODIFIED)

    def patch(self, target: Target, media_type: str, body: Any, *, force: bool) -> Stored:
        """Raises 415 for a strategic patch of a custom resource."""
        if media_type == "application/apply-patch+yaml":
            return self._apply(target, body)
        current = self.stored(target)
        old = current.obj
        if media_type == "application/json-patch+json" or isinstance(body, list):
            new = json_patch(old, body)
        elif media_type == "application/merge-patch+json":
            new = merge_patch(old, body)
        elif media_type == "application/strategic-merge-patch+json" and target.kind.builtin:
            new = strategic_patch(old, body, target.version.node)
        else:
            text = "the body of the request was in an unknown format - accepted media types include"
            known = "application/json-patch+json, application/merge-patch+json"
            raise errors.unsupported_media_type(f"{text}: {known}, application/apply-patch+yaml")
        if isinstance(body, list) or "resourceVersion" not in (body.get("metadata") or {}):
            new = {**new, "metadata": {**new["metadata"], "resourceVersion": None}}
        return self._replaced(target, current, self._decoded(target, new))

    def _apply(self, target: Target, body: Object) -> Stored:
        body = self._decoded(target, body)
        self._check_names(target, body["metadata"])
        key = (target.kind.group, target.kind.plural, target.namespace, target.name)
        current = self.shelf(target.kind).objects.get(key[2:])
        slot = ("/".join(key), f"{target.manager}:{target.subresource}")
        before = self.applied.get(slot, {})
        if not target.dry_run:
            self.applied[slot] = body
        if current is None:
            return self.create(target, {**body, "metadata": {**body["metadata"]}})
        new = apply_patch(current.obj, body, before, target.version.node)
        new["metadata"] = apply_patch(
            current.obj["metadata"], body["metadata"], before.get("metadata"), metadata_node()
        )
        if "resourceVersion" not in body["metadata"]:
            new["metadata"]["resourceVersion"] = None
        return self._replaced(target, current, new)

    # -- delete

    def delete(self, target: Target, options: Object) -> Stored:
        """What is stored afterwards (a deletionTimestamp on it), or the last state of what is gone;
        the difference: whether the key is still there."""
        current = self.stored(target)
        wanted = options.get("preconditions") or {}
        self._preconditions(target, current, wanted.get("uid"), wanted.get("resourceVersion"))
        if target.dry_run:
            return current
        meta = dict(current.obj["metadata"])
        finalizers = [f for f in meta.get("finalizers") or () if f not in (FOREGROUND, ORPHAN)]
        policy = options.get("propagationPolicy") or admission.default_propagation(target.kind)
        if policy in ("Foreground", "Orphan"):
            finalizers.append(FOREGROUND if policy == "Foreground" else ORPHAN)
        grace = admission.grace_s(target.kind, current.obj, options.get("gracePeriodSeconds"))
        if target.kind.plural == "namespaces":
            finalizers.append("kubernetes")
        if not finalizers and not grace:
            return self.state.remove(self.shelf(target.kind), (target.namespace, target.name))
        if "deletionTimestamp" in meta and (meta.get("deletionGracePeriodSeconds") or 0) <= grace:
            grace = meta.get("deletionGracePeriodSeconds") or 0
            if finalizers == (meta.get("finalizers") or []):
                return current
        meta |= {
            "deletionTimestamp": timestamp(self.now() + grace),
            "deletionGracePeriodSeconds": grace,
        }
        if finalizers:
            meta["finalizers"] = finalizers
        return self.state.put(self.shelf(target.kind), {**current.obj, "metadata": meta})

    # -- what the double's own controllers do

    def set_status(self, kind: Kind, obj: Object, status: Object) -> Object:
        """A controller's write of the status alone."""
        if obj.get("status") == status:
            return obj
        new = {**obj, "status": status}
        return self.state.put(self.shelf(kind), new).obj

    def without_finalizer(self, kind: Kind, obj: Object, finalizer: str) -> None:
        kept = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
        meta = {**obj["metadata"], "finalizers": kept}
        if not kept:
            del meta["finalizers"]
        self._put_or_finish(kind, {**obj, "metadata": meta})


def timestamp(seconds: float) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
