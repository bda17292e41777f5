"""What the settings, and the store, say of runs on the cluster."""

from collections.abc import Collection, Mapping

from trialbus.contracts import shipping
from trialbus.contracts.collections import EXPERIMENTS, RUNS
from trialbus.kernel.checkpoints import is_uri
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.run import ENDED_PHASES
from trialbus.ports.store import Query, Store
from trialbus.runtime.settings import Settings
from trialbus_trial_launcher.app.cluster.place import ClusterWays

# Of experiments without a template.
_DEFAULT = {"apiVersion": "batch/v1", "kind": "Job"}
_ENDED = frozenset(phase.value for phase in ENDED_PHASES)


def ways_of(settings: Settings) -> ClusterWays:
    return ClusterWays(
        instance=settings.kubernetes_instance,
        wrapper_image=settings.wrapper_image,
        default_image=settings.default_trial_image,
        restricted=settings.pod_security == "restricted",
        checkpoint_root=_uri(settings.checkpoint_root),
        artifact_root=_uri(settings.artifact_root),
        claim=settings.checkpoint_claim,
        grace_s=settings.kill_grace_s,
    )


def check_ways(settings: Settings) -> None:
    """Raises Refused: pods would look for the gateway on their own node, or end without a word
    that it understands."""
    if settings.place != "kubernetes" or not settings.wrapper_image:
        return
    url = settings.trial_gateway_url
    missing = "must be given with TRIALBUS_WRAPPER_IMAGE: pods report there"
    message = shipping.no_address(url) if url else missing
    if message:
        raise Refused([Problem(field="TRIALBUS_TRIAL_GATEWAY_URL", message=message)])


def _uri(text: str) -> str:
    return text if is_uri(text) else ""


class Standing:
    """What of the objects on the cluster stands for something in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def kinds(self) -> Collection[tuple[str, str]]:
        """apiVersion and kind of the templates of all experiments."""
        found = await self._store.find(EXPERIMENTS.name, Query(fields=("spec",)))
        specs = (document.get("spec") or {} for document in found)
        objects = [((spec.get("template") or {}).get("trial_spec") or _DEFAULT) for spec in specs]
        return {
            (str(it["apiVersion"]), str(it["kind"]))
            for it in objects
            if it.get("apiVersion") and it.get("kind")
        }

    async def ended(self, run_ids: Collection[str]) -> Mapping[str, bool]:
        """Of those that the store knows."""
        found = await self._store.get_many(RUNS.name, sorted(run_ids), fields=("phase",))
        return {key: document["phase"] in _ENDED for key, document in found.items()}
