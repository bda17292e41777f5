"""Owner references: what goes when its owner goes, and in which order."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.double.objects import FOREGROUND, ORPHAN, Objects, Target
from tests.cluster.double.resources import Kind
from tests.cluster.double.state import Event, Key, Shelf

Object = dict[str, Any]
Place = tuple[str, str, str, str]


@dataclass(slots=True)
class Garbage:
    """dependents: by the uid of the owner, where the objects that name it are."""

    objects: Objects
    dependents: dict[str, set[Place]] = field(default_factory=lambda: defaultdict(set))
    todo: list[tuple[str, Place]] = field(default_factory=list)

    def on_event(self, shelf: Shelf, event: Event) -> None:
        obj = event.stored.obj
        meta = obj["metadata"]
        place = (shelf.group, shelf.plural, meta.get("namespace", ""), meta["name"])
        owners = meta.get("ownerReferences") or ()
        if event.happened == "DELETED":
            for owner in owners:
                self._forget(owner["uid"], place)
                self.todo.append(("owner", self._owner_place(owner, meta)))
            if self.dependents.get(meta["uid"]):
                self.todo.append((f"gone {meta['uid']}", place))
            elif shelf.plural == "namespaces":
                self.todo.append(("namespace", place))
            return
        for owner in owners:
            self.dependents[owner["uid"]].add(place)
        if "deletionTimestamp" in meta:
            word = "namespace" if shelf.plural == "namespaces" else "deleting"
            self.todo.append((word, place))
        elif owners and event.happened == "ADDED":
            self.todo.append(("check", place))

    def _forget(self, uid: str, place: Place) -> None:
        if (places := self.dependents.get(uid)) is not None:
            places.discard(place)
            if not places:
                del self.dependents[uid]

    def _owner_place(self, owner: Object, meta: Object) -> Place:
        kind = self.objects.registry.by_kind(owner["apiVersion"], owner["kind"])
        if kind is None:
            return ("", "", "", "")
        return (
            kind.group,
            kind.plural,
            meta.get("namespace", "") if kind.namespaced else "",
            owner["name"],
        )

    def step(self) -> bool:
        if not self.todo:
            return False
        todo, self.todo = self.todo, []
        for what, place in todo:
            if what.startswith("gone "):
                self._owner_gone(what[5:])
            elif what == "check":
                self._check(place)
            elif what == "namespace":
                self._empty_namespace(place[3])
            else:
                self._deleting(place)
        return True

    def _at(self, place: Place) -> tuple[Kind, Object] | None:
        kind = self.objects.registry.kinds.get(place[:2])
        obj = self.objects.state.get(*place) if kind else None
        return (kind, obj) if kind is not None and obj is not None else None

    def _delete(self, kind: Kind, obj: Object, policy: str = "Background") -> None:
        key: Key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        version = kind.versions[kind.storage]
        target = Target(kind=kind, version=version, namespace=key[0], name=key[1])
        if "deletionTimestamp" not in obj["metadata"]:
            self.objects.delete(target, {"propagationPolicy": policy})

    def _owner_gone(self, uid: str) -> None:
        """Every dependent without another owner goes too; the others lose the reference."""
        for place in sorted(self.dependents.pop(uid, ())):
            found = self._at(place)
            if found is None:
                continue
            kind, obj = found
            left = [o for o in obj["metadata"]["ownerReferences"] if self._exists(o, obj)]
            if left:
                self._set_owners(kind, obj, left)
            else:
                self._delete(kind, obj)

    def _exists(self, owner: Object, obj: Object) -> bool:
        found = self._at(self._owner_place(owner, obj["metadata"]))
        return found is not None and found[1]["metadata"]["uid"] == owner["uid"]

    def _set_owners(self, kind: Kind, obj: Object, owners: list[Object]) -> None:
        meta = {**obj["metadata"], "ownerReferences": owners}
        if not owners:
            del meta["ownerReferences"]
        self.objects.state.put(self.objects.shelf(kind), {**obj, "metadata": meta})

    def _check(self, place: Place) -> None:
        """An object that came with an owner that is not there (any more)."""
        if found := self._at(place):
            kind, obj = found
            if not any(self._exists(o, obj) for o in obj["metadata"].get("ownerReferences") or ()):
                self._delete(kind, obj)

    def _deleting(self, place: Place) -> None:
        found = self._at(place)
        if found is None:
            return
        kind, obj = found
        meta = obj["metadata"]
        finalizers = meta.get("finalizers") or ()
        if "deletionTimestamp" not in meta:
            return
        if ORPHAN in finalizers:
            for child in sorted(self.dependents.pop(meta["uid"], ())):
                if below := self._at(child):
                    owners = below[1]["metadata"].get("ownerReferences") or ()
                    left = [o for o in owners if o["uid"] != meta["uid"]]
                    self._set_owners(*below, left)
            self.objects.without_finalizer(kind, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            waiting = [
                b for c in sorted(self.dependents.get(meta["uid"], ())) if (b := self._at(c))
            ]
            for below in waiting:
                self._delete(*below, "Foreground")
            if not any(self._at(c) for c in self.dependents.get(meta["uid"], ())):
                self.objects.without_finalizer(kind, obj, FOREGROUND)

    def _empty_namespace(self, name: str) -> None:
        """All that is in a namespace goes; the namespace itself when nothing is left."""
        found = self._at(("", "namespaces", "", name))
        if found is None or "deletionTimestamp" not in found[1]["metadata"]:
            return
        left = 0
        for shelf in list(self.objects.state.shelves.values()):
            kind = self.objects.registry.kinds.get((shelf.group, shelf.plural))
            if kind is None or not kind.namespaced:
                continue
            for stored in list(shelf.in_order(name)):
                self._delete(kind, stored.obj)
            left += sum(1 for _ in shelf.in_order(name))
        kind, obj = found
        if left:
            self._waiting(kind, obj)
        else:
            self.objects.without_finalizer(kind, obj, "kubernetes")

    def _waiting(self, kind: Kind, obj: Object) -> None:
        self.objects.set_status(kind, obj, {"phase": "Terminating"})

    def namespace_of_event(self, shelf: Shelf, event: Event) -> None:
        """The last object of a namespace that is going lets it go."""
        namespace = event.stored.obj["metadata"].get("namespace", "")
        if event.happened == "DELETED" and namespace:
            found = self.objects.state.get("", "namespaces", "", namespace)
            if found is not None and "deletionTimestamp" in found["metadata"]:
                self.todo.append(("namespace", ("", "namespaces", "", namespace)))
