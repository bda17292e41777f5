"""Who wrote which field: Kubernetes' managedFields, and server-side apply by them.

As for every custom resource without a list schema, objects are merged field by field and lists
are one value each (structured-merge-diff, "deduced" types). A field is a path of names; managers
own leaves: values that are no objects, and empty objects.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from trialbus_gateway.adapters.kubernetes.patches import same
from trialbus_gateway.adapters.kubernetes.status_objects import (
    GROUP,
    VERSION,
    Cause,
    apply_conflict,
)

Json = Any
Object = dict[str, Json]
Path = tuple[str, ...]
Paths = frozenset[Path]
Defaulted = Callable[[Object], Object]

API_VERSION = f"{GROUP}/{VERSION}"
APPLY, UPDATE = "Apply", "Update"
# Owns what was there before anybody applied, where nobody knows who wrote it.
BEFORE_FIRST_APPLY = "before-first-apply"
# As in the API server: older entries of updates become one.
MAX_UPDATE_MANAGERS = 10
ANCIENT = "ancient-changes"

_ABSENT = object()
# What the server writes, or what names the object: nobody owns it.
_NOBODYS = frozenset({("apiVersion",), ("kind",), ("status",)}) | frozenset(
    ("metadata", name)
    for name in (
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """One entry of managedFields. time: of its last change, RFC 3339."""

    name: str
    operation: str
    time: str
    paths: Paths
    subresource: str = ""

    def is_same(self, other: "Manager") -> bool:
        return self.key == other.key

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, self.operation, self.subresource


def leaves(obj: Mapping[str, Json]) -> Paths:
    """The fields of an object that somebody may own."""
    return frozenset(_leaves(obj, ()))


def managers_of(obj: Mapping[str, Json]) -> list[Manager]:
    """Entries that cannot be read are left out: they own nothing here."""
    entries = obj.get("metadata", {}).get("managedFields")
    read = map(_decode, entries if isinstance(entries, list) else ())
    return [manager for manager in read if manager is not None and manager.paths]


def with_managers(obj: Mapping[str, Json], managers: Sequence[Manager]) -> Object:
    """The object with these entries and no others."""
    metadata = {name: it for name, it in obj["metadata"].items() if name != "managedFields"}
    if managers:
        metadata["managedFields"] = [_encode(manager) for manager in managers]
    return {**obj, "metadata": metadata}


def updated(before: Mapping[str, Json], after: Mapping[str, Json], name: str, at: str) -> Object:
    """`after`, where `name` owns what it changed, and nobody what is gone. before: {} for a new
    object. What `after` says of managers itself is taken: kubectl migrates ownership so."""
    known = managers_of(after) if _says_managers(after) else managers_of(before)
    old, new = leaves(before), leaves(after)
    changed = frozenset(it for it in new if not same(_get(before, it), _get(after, it)))
    me = Manager(name=name, operation=UPDATE, time=at, paths=changed)
    mine = next((it.paths for it in known if it.is_same(me)), frozenset[Path]())
    lost = changed | (old - new)
    others = [_without(it, lost, at) for it in known if not it.is_same(me)]
    kept = next((it for it in known if it.is_same(me)), me)
    owned = Manager(
        name=name,
        operation=UPDATE,
        time=at if lost else kept.time,
        paths=(mine - (old - new)) | changed,
    )
    return with_managers(after, _capped([it for it in (*others, owned) if it.paths], at))


def applied(
    live: Mapping[str, Json],
    config: Object,
    name: str,
    at: str,
    *,
    defaulted: Defaulted,
    force: bool,
) -> Object:
    """Server-side apply of `config`. live: {} if the object is not there yet. defaulted: so that a
    value that only lacks the defaults of the one that is there is not another. Raises
    StatusFailure (a conflict) with every field that another manager owns and that would change."""
    result = _merged(live, config)
    after = defaulted(result)
    me = Manager(name=name, operation=APPLY, time=at, paths=leaves(config))
    taken = frozenset(it for it in me.paths if not same(_get(live, it), _get(after, it)))
    known = managers_of(live) or _nobody_knows(live, at)
    mine = next((it for it in known if it.is_same(me)), None)
    others = [it for it in known if not it.is_same(me)]
    if not force:
        _refuse_conflicts(others, taken, live)
    others = [_without(it, _overlapping(it, taken, live), at) for it in others]
    if mine is not None:
        if withdrawn := mine.paths - me.paths:
            # A copy: what is merged shares parts with what is there.
            result = deepcopy(result)
            _withdraw(result, withdrawn, [me, *others])
        if mine.paths == me.paths and not taken:
            me = replace(me, time=mine.time)
    return with_managers(result, [it for it in (*others, me) if it.paths])


def _nobody_knows(live: Mapping[str, Json], at: str) -> list[Manager]:
    paths = leaves(live) if live else frozenset[Path]()
    return [Manager(name=BEFORE_FIRST_APPLY, operation=UPDATE, time=at, paths=paths)]


def _refuse_conflicts(others: Iterable[Manager], taken: Paths, live: Mapping[str, Json]) -> None:
    causes = [
        Cause(
            reason="FieldManagerConflict",
            message=f'conflict with "{other.name}" using {API_VERSION}',
            field="".join(f".{part}" for part in path),
        )
        for other in others
        for path in sorted(_overlapping(other, taken, live))
    ]
    if causes:
        raise apply_conflict(causes)


def _withdraw(obj: Object, paths: Paths, owners: Sequence[Manager]) -> None:
    """Take out what its manager applies no more, unless somebody owns it or a part of it."""
    owned = _with_all_above(frozenset[Path]().union(*(owner.paths for owner in owners)))
    for path in sorted(paths - owned):
        _remove(obj, path, owned)


def _overlapping(manager: Manager, taken: Paths, live: Mapping[str, Json]) -> Paths:
    """What of a manager's would change: the same, what is in it, what it is in. An object that
    somebody owns while it is empty is no less so when something is put into it."""
    above = _with_all_above(taken)

    def overlaps(path: Path) -> bool:
        if any(path[:length] in taken for length in range(1, len(path) + 1)):
            return True
        return path in above and not isinstance(_get(live, path), Mapping)

    return frozenset(filter(overlaps, manager.paths))


def _with_all_above(paths: Paths) -> Paths:
    return frozenset(path[:length] for path in paths for length in range(1, len(path) + 1))


def _without(manager: Manager, lost: Paths, at: str) -> Manager:
    paths = manager.paths - lost
    return manager if paths == manager.paths else replace(manager, paths=paths, time=at)


def _capped(managers: list[Manager], at: str) -> list[Manager]:
    """The oldest updates become one entry, so that scripts with a name each fill nothing up."""
    updates = [it for it in managers if it.operation == UPDATE and not it.subresource]
    if len(updates) <= MAX_UPDATE_MANAGERS:
        return managers
    oldest = sorted(updates, key=lambda it: (it.name != ANCIENT, it.time))[
        : len(updates) - MAX_UPDATE_MANAGERS + 1
    ]
    paths = frozenset[Path]().union(*(it.paths for it in oldest))
    ancient = Manager(name=ANCIENT, operation=UPDATE, time=at, paths=paths)
    return [ancient, *(it for it in managers if it not in oldest)]


def _leaves(value: Json, path: Path) -> Iterable[Path]:
    if path in _NOBODYS:
        return
    if isinstance(value, Mapping) and (value or not path):
        for name, item in value.items():
            yield from _leaves(item, (*path, str(name)))
    elif path not in (("metadata",), ("spec",)):
        yield path


def _get(obj: Json, path: Path) -> Json:
    for part in path:
        if not isinstance(obj, Mapping) or part not in obj:
            return _ABSENT
        obj = obj[part]
    return obj


def _merged(live: Json, config: Json) -> Json:
    """What the config says over what is there; lists and values as a whole."""
    if not isinstance(config, Mapping):
        return deepcopy(config)
    merged = dict(live) if isinstance(live, Mapping) else {}
    return {**merged, **{name: _merged(merged.get(name), it) for name, it in config.items()}}


def _remove(obj: Object, path: Path, owned: Paths) -> None:
    """With the objects around it that hold nothing else and are not owned as such."""
    parents: list[Object] = [obj]
    for part in path[:-1]:
        node = parents[-1].get(part)
        if not isinstance(node, dict):
            return
        parents.append(node)
    parents[-1].pop(path[-1], None)
    for length in range(len(path) - 1, 1, -1):
        if parents[length] or path[:length] in owned:
            return
        del parents[length - 1][path[length - 1]]


def _says_managers(obj: Mapping[str, Json]) -> bool:
    """An empty list, or a list of an empty entry, says that there are none."""
    return isinstance(obj.get("metadata", {}).get("managedFields"), list)


def _decode(entry: Json) -> Manager | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("manager"), str):
        return None
    fields = entry.get("fieldsV1")
    operation = entry.get("operation")
    if not isinstance(fields, Mapping) or operation not in (APPLY, UPDATE):
        return None
    time, subresource = entry.get("time"), entry.get("subresource")
    return Manager(
        name=entry["manager"],
        operation=operation,
        time=time if isinstance(time, str) else "",
        paths=frozenset(_paths(fields, ())),
        subresource=subresource if isinstance(subresource, str) else "",
    )


def _paths(fields: Mapping[str, Json], path: Path) -> Iterable[Path]:
    """`.` says that the object itself is owned, which means nothing here; items of a list mean
    the list."""
    for name, inner in fields.items():
        if name == ".":
            continue
        if not name.startswith("f:"):
            yield path
        elif isinstance(inner, Mapping) and inner.keys() - {"."}:
            yield from _paths(inner, (*path, name[2:]))
        else:
            yield (*path, name[2:])


def _encode(manager: Manager) -> Object:
    fields: Object = {}
    for path in sorted(manager.paths):
        node = fields
        for part in path:
            node = node.setdefault(f"f:{part}", {})
    entry = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": API_VERSION,
        "time": manager.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**entry, "subresource": manager.subresource} if manager.subresource else entry
