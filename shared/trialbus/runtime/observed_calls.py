"""What a service counts of calls that its adapters serve and make: they know no telemetry."""

from collections.abc import Callable

from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry


def grpc_observer(telemetry: Telemetry) -> Callable[[str, str, float], None]:
    """For `trialbus.adapters.grpc`: times every call of the service's port."""

    def observe(method: str, code: str, taken_s: float) -> None:
        telemetry.observe(metrics.GRPC, taken_s, method=method, code=code)

    return observe
