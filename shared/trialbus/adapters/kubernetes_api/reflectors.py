"""One reflector for each namespace that an installation covers, as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from trialbus.adapters.kubernetes_api.reflector import Change, ObjectKey, Reflector
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, Object, Resource

S = TypeVar("S")


def namespaces_of(setting: str) -> tuple[str | None, ...]:
    """Of the setting kubernetes_namespaces; (None,): all of the cluster, with one list and one
    watch."""
    named = dict.fromkeys(each.strip() for each in setting.split(",") if each.strip())
    return tuple(named) or (None,)


class Reflectors(Generic[S]):
    """namespaces: of `namespaces_of`."""

    def __init__(
        self,
        api: ClusterApi,
        resource: Resource,
        namespaces: Sequence[str | None],
        *,
        summary: Callable[[Object], S],
        label_selector: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._of: dict[str | None, Reflector[S]] = {
            namespace: Reflector(
                api,
                resource,
                namespace,
                summary=summary,
                label_selector=label_selector,
                clock=clock,
            )
            for namespace in namespaces
        }

    async def run(self, changed: Callable[[Change[S]], Awaitable[None]]) -> None:
        """For ever. `changed` is awaited before the next change of that namespace is looked at.
        What it raises ends all, as an ExceptionGroup; run again, they go on after that change."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._of.values():
                group.create_task(_run(reflector, changed))

    async def wait_synced(self) -> None:
        """Until all of the first lists has been handed to `changed`."""
        for reflector in self._of.values():
            await reflector.synced.wait()

    @property
    def synced(self) -> bool:
        return all(reflector.synced.is_set() for reflector in self._of.values())

    @property
    def resyncs(self) -> int:
        return sum(reflector.resyncs for reflector in self._of.values())

    @property
    def troubles(self) -> dict[str | None, str]:
        """Namespaces that are not followed just now, with why."""
        return {each: found.trouble for each, found in self._of.items() if found.trouble}

    def get(self, key: ObjectKey) -> S | None:
        reflector = self._of.get(key.namespace) or self._of.get(None)
        return None if reflector is None else reflector.get(key)

    def __len__(self) -> int:
        return sum(len(reflector) for reflector in self._of.values())


async def _run(reflector: Reflector[S], changed: Callable[[Change[S]], Awaitable[None]]) -> None:
    async for change in reflector.changes():
        await changed(change)
