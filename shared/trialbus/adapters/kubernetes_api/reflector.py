"""A view of many objects that follows the server: list, then watch from there.

Kept of each object: its uid and what the caller's `summary` makes of it; so memory is constant per
object if that is (300 bytes and the summary). The view lags, and never goes back: a list that is
older than what is known (a replica of the server that fell behind) is asked for again.

    reflector = Reflector(api, jobs, None, summary=phase_of)
    async for change in reflector.changes():
        ...  # change.key, and its new summary, or None when it has gone
"""

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from trialbus.adapters.kubernetes_api.pace import LoopClock
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import (
    ClusterApi,
    Forbidden,
    Gone,
    NoSuchKind,
    Object,
    Page,
    Resource,
    WatchEvent,
    WatchKind,
)

S = TypeVar("S")

# A server that was restored from a backup counts from an older version on: then we follow it.
MAX_OLD_LISTS = 3
# A watch that ended sooner, and brought nothing, is not begun again at once.
SHORT_WATCH_S = 1.0


class ObjectKey(NamedTuple):
    """namespace: "" of what is in none."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """summary None: there is no such object any more."""

    key: ObjectKey
    summary: S | None


@dataclass(frozen=True, slots=True)
class _Kept(Generic[S]):
    uid: str
    summary: S


class Reflector(Generic[S]):
    """Of one resource, in one namespace or in all (None).

    summary: of an object, compared by ==; raises nothing. resyncs: lists after the first, each of
    which compares everything. trouble: why it does not follow just now; "" when it does.
    """

    def __init__(
        self,
        api: ClusterApi,
        resource: Resource,
        namespace: str | None,
        *,
        summary: Callable[[Object], S],
        label_selector: str = "",
        clock: Clock | None = None,
        watch_s: float = limits.CLUSTER_WATCH_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._summary = summary
        self._label_selector = label_selector
        self._clock = clock or LoopClock()
        self._watch_s = watch_s
        self._jitter = jitter
        self._kept: dict[ObjectKey, _Kept[S]] = {}
        # Of the server's versions, where the next watch begins; "": at a list.
        self.position = ""
        # The newest that was seen, through all lists.
        self._newest = 0
        self._old_lists = 0
        self._failures = 0
        self.resyncs = 0
        self.trouble = ""
        # Set when the whole of the first list has been handed on.
        self.synced = asyncio.Event()

    def get(self, key: ObjectKey) -> S | None:
        kept = self._kept.get(key)
        return None if kept is None else kept.summary

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._kept)

    async def changes(self) -> AsyncGenerator[Change[S], None]:
        """For ever, first all that is there. An object that was made anew under its name has gone
        in between; of one that goes, a last state that is new comes first. Raises Invalid: the
        server does not understand the selector."""
        while True:
            try:
                async with aclosing(self._followed()) as followed:
                    async for change in followed:
                        yield change
            except Gone:
                self.position = ""
                self.trouble = ""
            except NoSuchKind as error:
                self.position = ""
                self.trouble = str(error)
            except (Transient, Forbidden) as error:
                self.trouble = str(error)
            await self._back_off()

    async def _followed(self) -> AsyncGenerator[Change[S], None]:
        """Ends when a watch was too short to be one."""
        if not self.position:
            async with aclosing(self._listed()) as listed:
                async for change in listed:
                    yield change
        while True:
            began = self._clock.monotonic()
            brought = False
            async with (
                self._api.watch(
                    self._resource,
                    self._namespace,
                    resource_version=self.position,
                    label_selector=self._label_selector,
                    timeout_s=self._watch_s,
                ) as events,
            ):
                self.trouble = ""
                async for event in events:
                    brought = True
                    self._failures = 0
                    for change in self._told(event):
                        yield change
            if not brought and self._clock.monotonic() - began < SHORT_WATCH_S:
                return
            self._failures = 0

    async def _listed(self) -> AsyncGenerator[Change[S], None]:
        seen: set[ObjectKey] = set()
        page = await self._page("")
        self._refuse_old(page)
        while True:
            for item in page.items:
                key = _key_of(item)
                seen.add(key)
                for change in self._there(key, item):
                    yield change
            if not page.next:
                break
            page = await self._page(page.next)
        for key in [key for key in self._kept if key not in seen]:
            yield self._gone(key)
        self._move(page.resource_version)
        self.trouble = ""
        self.resyncs += self.synced.is_set()
        self.synced.set()

    async def _page(self, after: str) -> Page:
        return await self._api.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            limit=limits.MAX_PAGE_ITEMS,
            next=after,
        )

    def _refuse_old(self, page: Page) -> None:
        """Versions are compared as Kubernetes 1.35 promises that they can be."""
        version = _number(page.resource_version)
        if version >= self._newest or self._old_lists >= MAX_OLD_LISTS:
            self._old_lists = 0
            self._newest = version
            return
        self._old_lists += 1
        raise Transient(
            f"a list of {self._resource.plural} of version {version} is older than {self._newest}"
        )

    def _told(self, event: WatchEvent) -> Iterator[Change[S]]:
        self._move(event.resource_version)
        if event.kind is WatchKind.BOOKMARK:
            return
        key = _key_of(event.object)
        yield from self._there(key, event.object)
        if event.kind is WatchKind.DELETED:
            yield self._gone(key)

    def _there(self, key: ObjectKey, item: Object) -> Iterator[Change[S]]:
        uid = str(item["metadata"].get("uid") or "")
        kept = self._kept.get(key)
        if kept is not None and kept.uid != uid:
            yield self._gone(key)
            kept = None
        summary = self._summary(item)
        if kept is None or kept.summary != summary:
            self._kept[key] = _Kept(uid, summary)
            yield Change(key, summary)

    def _gone(self, key: ObjectKey) -> Change[S]:
        self._kept.pop(key, None)
        return Change(key, None)

    def _move(self, position: str) -> None:
        self.position = position
        self._newest = max(self._newest, _number(position))

    async def _back_off(self) -> None:
        longest = min(limits.CLUSTER_BACKOFF_S * 2**self._failures, limits.MAX_CLUSTER_BACKOFF_S)
        self._failures = min(self._failures + 1, 16)
        await self._clock.sleep(longest * (0.5 + self._jitter() / 2))


def _key_of(item: Object) -> ObjectKey:
    metadata = item["metadata"]
    # There are few namespaces: each is kept once.
    return ObjectKey(sys.intern(str(metadata.get("namespace") or "")), str(metadata["name"]))


def _number(version: str) -> int:
    """0: it cannot be compared."""
    return int(version) if version.isdigit() else 0
