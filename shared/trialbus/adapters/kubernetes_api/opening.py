"""A ClusterApi as the settings want it."""

from importlib import import_module
from typing import Any, Protocol

from trialbus.adapters.kubernetes_api.pace import LoopClock, Pace
from trialbus.adapters.kubernetes_api.request_metrics import RequestObserver
from trialbus.kernel import limits
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi


class ClusterSettings(Protocol):
    """What is read of the service's settings; docs/reference/settings.md says what each means."""

    kubeconfig: str
    kubernetes_api: str
    kubernetes_credentials_dir: str


async def open_cluster(
    settings: ClusterSettings,
    *,
    clock: Clock | None = None,
    requests_per_second: float = limits.CLUSTER_REQUESTS_PER_SECOND,
    call_deadline_s: float = limits.CLUSTER_CALL_DEADLINE_S,
    observer: RequestObserver | None = None,
) -> ClusterApi:
    """Asks the server nothing yet; whoever opens it closes it. observer: is told of every request.
    Raises Refused: the kubeconfig or the credentials cannot be read."""
    connections: Any = import_module("trialbus.adapters.kubernetes_api.connections")
    credentials: Any = import_module("trialbus.adapters.kubernetes_api.credentials")
    cluster: Any = import_module("trialbus.adapters.kubernetes_api.cluster")
    ours = clock or LoopClock()
    given = await credentials.credentials_of(settings, ours)
    pace = Pace(ours, per_second=requests_per_second, at_once=limits.CLUSTER_REQUESTS_AT_ONCE)
    connection = connections.Connection(
        given, pace, ours, deadline_s=call_deadline_s, observer=observer
    )
    api: ClusterApi = cluster.KubernetesApi(connection, ours)
    return api
