"""The launcher of a cluster, put together as the settings want it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.adapters.kubernetes_api.reflectors import namespaces_of
from trialbus.contracts.collections import EXPERIMENTS, RUNS
from trialbus.kernel.checkpoints import is_uri
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.run import ENDED_PHASES
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts, Served
from trialbus.runtime.settings import Settings
from trialbus_trial_launcher.adapters.kubernetes.launcher import ClusterLauncher
from trialbus_trial_launcher.adapters.kubernetes.leftovers import KindName, Leftovers
from trialbus_trial_launcher.adapters.kubernetes.pod_logs import PodLogs
from trialbus_trial_launcher.app.cluster_place import ClusterPlace, ClusterWays
from trialbus_trial_launcher.app.logs import Logs
from trialbus_trial_launcher.app.sources.means import Means

_ENDED = frozenset(phase.value for phase in ENDED_PHASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCluster:
    """What a composition root needs."""

    api: ClusterApi
    launcher: ClusterLauncher
    place: ClusterPlace
    logs: Logs
    leftovers: Leftovers
    served: tuple[Served, ...] = ()


async def on_cluster(parts: Parts, means: Means, api: ClusterApi | None = None) -> OnCluster:
    """api: None: as the settings say. Raises Refused: the credentials cannot be read."""
    settings = parts.settings
    api = api or await open_cluster(settings)
    namespaces = namespaces_of(settings.kubernetes_namespaces)
    launcher = ClusterLauncher(
        api,
        parts.clock,
        parts.telemetry.log,
        instance=settings.kubernetes_instance,
        namespaces=namespaces,
    )
    leftovers = Leftovers(
        api,
        parts.clock,
        parts.telemetry.log,
        settings.kubernetes_instance,
        namespaces,
        kinds=_Kinds(parts).used,
        ended=_Ends(parts).of,
    )
    return OnCluster(
        api=api,
        launcher=launcher,
        place=ClusterPlace(ways=ways_of(settings), means=means, launcher=launcher, parts=parts),
        logs=Logs(PodLogs(launcher, parts.clock)),
        leftovers=leftovers,
    )


def ways_of(settings: Settings) -> ClusterWays:
    def uri(text: str) -> str:
        return text if is_uri(text) else ""

    return ClusterWays(
        instance=settings.kubernetes_instance,
        wrapper_image=settings.wrapper_image,
        restricted=settings.pod_security == "restricted",
        checkpoint_root=uri(settings.checkpoint_root),
        artifact_root=uri(settings.artifact_root),
        claim=settings.checkpoint_claim,
        grace_s=settings.kill_grace_s,
    )


def check_cluster(settings: Settings) -> None:
    """Raises Refused: pods would look for the gateway on their own node."""
    if settings.place == "kubernetes" and settings.wrapper_image and not settings.trial_gateway_url:
        message = "must be given with TRIALBUS_WRAPPER_IMAGE: pods report there"
        raise Refused([Problem(field="TRIALBUS_TRIAL_GATEWAY_URL", message=message)])


class _Kinds:
    """Of the templates of all experiments: all of them once, then those that are there."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    async def used(self) -> Collection[KindName]:
        found = await self._store.find(EXPERIMENTS.name, Query(fields=("spec",)))
        specs = (document.get("spec") or {} for document in found)
        objects = [((spec.get("template") or {}).get("trial_spec") or {}) for spec in specs]
        return {
            (str(it["apiVersion"]), str(it["kind"]))
            for it in objects
            if it.get("apiVersion") and it.get("kind")
        }


class _Ends:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    async def of(self, run_ids: Collection[str]) -> Mapping[str, bool]:
        found = await self._store.get_many(RUNS.name, sorted(run_ids), fields=("phase",))
        return {key: document["phase"] in _ENDED for key, document in found.items()}
