"""What the server stores: objects by kind, their events, and who watches them.

One thread owns it. Stored objects are never changed in place: a change is a new dict.
"""

import bisect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import to_json

Object = dict[str, Any]
# (namespace, name); the namespace of what has none is "".
Key = tuple[str, str]
Happened = Literal["ADDED", "MODIFIED", "DELETED"]
# Events of one kind that a watch can still begin at; etcd keeps five minutes.
KEPT_EVENTS = 10_000


class Stored:
    """An object as it is at one version, and its JSON, made once when somebody needs it."""

    __slots__ = ("_json", "obj", "version")

    def __init__(self, obj: Object, version: int) -> None:
        self.obj = obj
        self.version = version
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        if self._json is None:
            self._json = to_json(self.obj)
        return self._json


class Event:
    """previous: None for ADDED. stored: of DELETED the last state, at the deletion's version."""

    __slots__ = ("_line", "happened", "previous", "stored")

    def __init__(self, happened: Happened, stored: Stored, previous: Stored | None) -> None:
        self.happened = happened
        self.stored = stored
        self.previous = previous
        self._line: bytes | None = None

    @property
    def line(self) -> bytes:
        if self._line is None:
            self._line = event_line(self.happened, self.stored.json)
        return self._line


def event_line(kind: str, body: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


Listener = Callable[["Shelf", Event], None]


@dataclass(slots=True, eq=False)
class Shelf:
    """All objects of one kind. compacted: watches must begin at it or later."""

    group: str
    plural: str
    objects: dict[Key, Stored] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    log: deque[Event] = field(default_factory=deque)
    compacted: int = 0
    watchers: list[Callable[[Event], None]] = field(default_factory=list)

    def in_order(self, namespace: str | None, after: Key | None = None) -> Iterator[Stored]:
        """Of one namespace or (None) of all, by key, after that key."""
        keys, objects = self.keys, self.objects
        start = 0 if namespace is None else bisect.bisect_left(keys, (namespace, ""))
        if after is not None:
            start = max(start, bisect.bisect_right(keys, after))
        for at in range(start, len(keys)):
            key = keys[at]
            if namespace is not None and key[0] != namespace:
                return
            yield objects[key]

    def at_version(self, version: int) -> dict[Key, Stored]:
        """The objects as they were: the events after that version taken back."""
        objects = dict(self.objects)
        for event in reversed(self.log):
            if event.stored.version <= version:
                break
            key = key_of(event.stored.obj)
            if event.previous is None:
                objects.pop(key, None)
            else:
                objects[key] = event.previous
        return objects


def key_of(obj: Object) -> Key:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


class State:
    """One version counter over all kinds, as etcd has. maxima: the most live objects, by plural."""

    def __init__(self) -> None:
        # A server has a past that nobody can ask for any more.
        self.version = self.compacted = 1000
        self.shelves: dict[tuple[str, str], Shelf] = {}
        self.listeners: list[Listener] = []
        self.maxima: dict[str, int] = {}
        self.kept_events = KEPT_EVENTS

    def shelf(self, group: str, plural: str) -> Shelf:
        found = self.shelves.get((group, plural))
        if found is None:
            found = Shelf(group, plural, compacted=self.compacted)
            self.shelves[group, plural] = found
        return found

    def get(self, group: str, plural: str, namespace: str, name: str) -> Object | None:
        stored = self.shelf(group, plural).objects.get((namespace, name))
        return stored.obj if stored else None

    def put(self, shelf: Shelf, obj: Object) -> Stored:
        """Store an object under its own key with the next version; it belongs to the state now."""
        self.version += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.version)}
        stored = Stored(obj, self.version)
        key = key_of(obj)
        previous = shelf.objects.get(key)
        if previous is None:
            bisect.insort(shelf.keys, key)
        shelf.objects[key] = stored
        self._tell(shelf, Event("MODIFIED" if previous else "ADDED", stored, previous))
        live = len(shelf.objects)
        if live > self.maxima.get(shelf.plural, 0):
            self.maxima[shelf.plural] = live
        return stored

    def remove(self, shelf: Shelf, key: Key) -> Stored:
        """Take an object away; what is returned carries the deletion's version."""
        previous = shelf.objects.pop(key)
        del shelf.keys[bisect.bisect_left(shelf.keys, key)]
        self.version += 1
        meta = {**previous.obj["metadata"], "resourceVersion": str(self.version)}
        gone = Stored({**previous.obj, "metadata": meta}, self.version)
        self._tell(shelf, Event("DELETED", gone, previous))
        return gone

    def _tell(self, shelf: Shelf, event: Event) -> None:
        shelf.log.append(event)
        if len(shelf.log) > self.kept_events:
            shelf.compacted = shelf.log.popleft().stored.version
        for watcher in tuple(shelf.watchers):
            watcher(event)
        for listener in self.listeners:
            listener(shelf, event)

    def compact(self) -> None:
        """Forget the past of every kind: older watches and continuations get 410."""
        self.compacted = self.version
        for shelf in self.shelves.values():
            shelf.log.clear()
            shelf.compacted = self.version
