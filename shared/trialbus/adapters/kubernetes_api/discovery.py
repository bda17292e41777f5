"""Which kinds the server serves, by its own word, remembered for a while."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.adapters.kubernetes_api.connections import Connection, Request
from trialbus.adapters.kubernetes_api.paths import group_version_path
from trialbus.kernel import limits
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterError, NoSuchKind, NotFound, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of one group and version, by kind; asked_at by the clock that never goes back."""

    kinds: Mapping[str, Resource]
    asked_at: float


class Discovery:
    """One request per group and version, however many ask for its kinds at once."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Raises NoSuchKind, Transient."""
        async with self._asking.setdefault(api_version, asyncio.Lock()):
            known = self._known.get(api_version)
            if known is None or self._is_old(known, kind):
                known = await self._ask(api_version)
                self._known[api_version] = known
        found = known.kinds.get(kind)
        if found is None:
            raise NoSuchKind(f"the cluster knows no {kind} of {api_version}", reason="NotFound")
        return found

    def forget(self, api_version: str) -> None:
        """A kind of it has gone."""
        self._known.pop(api_version, None)

    def _is_old(self, known: _Known, kind: str) -> bool:
        age_s = self._clock.monotonic() - known.asked_at
        good_s = (
            limits.CLUSTER_DISCOVERY_S if kind in known.kinds else limits.CLUSTER_MISSING_KIND_S
        )
        return age_s >= good_s

    async def _ask(self, api_version: str) -> _Known:
        request = Request(verb="get", method="GET", path=group_version_path(api_version))
        try:
            listed = (await self._connection.object(request)).get("resources") or ()
        except (NoSuchKind, NotFound):
            listed = ()
        except ClusterError as error:
            # A word that is no group and version is none that the server knows.
            if error.reason != "BadRequest":
                raise
            listed = ()
        kinds = {each.kind: each for each in _resources(api_version, listed)}
        return _Known(kinds=kinds, asked_at=self._clock.monotonic())


def _resources(api_version: str, listed: Iterable[Mapping[str, Any]]) -> Iterable[Resource]:
    """listed: of an APIResourceList, where `jobs/status` stands beside `jobs`."""
    group, _, version = api_version.rpartition("/")
    entries = list(listed)
    for each in entries:
        plural = str(each["name"])
        if "/" in plural:
            continue
        yield Resource(
            group=group,
            version=version,
            kind=str(each["kind"]),
            plural=plural,
            namespaced=bool(each["namespaced"]),
            verbs=frozenset(each.get("verbs") or ()),
            subresources=frozenset(
                str(other["name"]).removeprefix(f"{plural}/")
                for other in entries
                if str(other["name"]).startswith(f"{plural}/")
            ),
        )
