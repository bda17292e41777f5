"""What a service counts of calls that its adapters serve and make: they know no telemetry."""

from collections.abc import Callable

from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry


def grpc_observer(telemetry: Telemetry) -> Callable[[str, str, float], None]:
    """For `trialbus.adapters.grpc`: times every call of the service's port."""

    def observe(method: str, code: str, taken_s: float) -> None:
        telemetry.observe(metrics.GRPC, taken_s, method=method, code=code)

    return observe


class ClusterRequests:
    """For `trialbus.adapters.kubernetes_api`: times every request to the API server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def waited(self, waited_s: float) -> None:
        self._telemetry.observe(metrics.CLUSTER_WAIT, waited_s)

    def answered(self, verb: str, code: int, taken_s: float) -> None:
        self._telemetry.observe(metrics.CLUSTER_REQUESTS, taken_s, verb=verb, code=str(code))
