"""The cluster behind the sync of custom resources, and behind templates in ConfigMaps.

It is loaded only where a cluster is set: its client is large.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.adapters.kubernetes_api.reflector import Change
from trialbus.adapters.kubernetes_api.reflectors import Reflectors, namespaces_of
from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.template_sources import CONFIG_MAP_FIELD, TemplateReference
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Forbidden, NotFound
from trialbus_gateway.app.resource_cluster import EXPERIMENT
from trialbus_gateway.app.resource_queue import Key
from trialbus_gateway.core.custom_resources import is_leaving, written_digest

__all__ = ["ClusterTemplates", "ExperimentFeed", "kept_namespaces", "open_cluster"]


def kept_namespaces(setting: str) -> frozenset[str] | None:
    """Of the setting kubernetes_namespaces; None: all."""
    return frozenset(it for it in namespaces_of(setting) if it is not None) or None


@dataclass(frozen=True, slots=True)
class _Written:
    """What a person may have changed of an object; its status is ours."""

    uid: str
    mark: str
    leaving: bool


class ExperimentFeed:
    """A `ResourceFeed` over reflectors. Kept of each object is a check sum. namespaces: the
    setting."""

    def __init__(self, api: ClusterApi, namespaces: str, clock: Clock) -> None:
        self._api = api
        self._namespaces = namespaces_of(namespaces)
        self._clock = clock
        self._keys: set[Key] = set()
        self._begun = asyncio.Event()
        self._reflectors: Reflectors[_Written] | None = None

    def keys(self) -> set[Key]:
        return set(self._keys)

    async def run(self, changed: Callable[[Key], None]) -> None:
        """Raises NoSuchKind: the definitions are not installed; Transient."""
        resource = await self._api.resource(API_VERSION, EXPERIMENT)
        self._reflectors = Reflectors(
            self._api, resource, self._namespaces, summary=_summary, clock=self._clock
        )
        self._begun.set()

        async def take(change: Change[_Written]) -> None:
            key = Key(*change.key)
            if change.summary is None:
                self._keys.discard(key)
            else:
                self._keys.add(key)
            changed(key)

        await self._reflectors.run(take)

    async def wait_synced(self) -> None:
        await self._begun.wait()
        assert self._reflectors is not None
        await self._reflectors.wait_synced()


def _summary(obj: Mapping[str, Any]) -> _Written:
    return _Written(str(obj["metadata"]["uid"]), written_digest(obj), is_leaving(obj))


class ClusterTemplates:
    """Trial templates in ConfigMaps of the cluster (25)."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api

    async def fetch(self, reference: TemplateReference) -> str:
        """The text of an entry. Raises Refused, saying what is missing; Transient."""
        where = f"{reference.namespace}/{reference.name}"
        try:
            kind = await self._api.resource("v1", "ConfigMap")
            found = await self._api.get(kind, reference.namespace, reference.name)
        except NotFound as error:
            raise _missing(f"there is no ConfigMap {where}") from error
        except Forbidden as error:
            raise _missing(f"the ConfigMap {where} may not be read: {error}") from error
        except ClusterError as error:
            raise Transient(f"the ConfigMap {where}: {error}") from error
        text = (found.get("data") or {}).get(reference.path)
        if not isinstance(text, str):
            raise _missing(f"the ConfigMap {where} has no entry {reference.path}")
        return text


def _missing(why: str) -> Refused:
    message = f"unable to parse spec.trialTemplate: {why}"
    return Refused([Problem(field=CONFIG_MAP_FIELD, message=message)])
