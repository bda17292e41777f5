"""How long algorithms compute, and wait for it, and what their processes die of, as metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry
from trialbus_suggestion.app.deaths import Death, TellDeath


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """One answered request. took_s: of the algorithm itself. waited_s: for a process, its start
    included; None: it needs none."""

    algorithm: str
    points: int
    took_s: float
    waited_s: float | None = None


TellComputed = Callable[[Computed], None]


def tell_nobody(_: Computed) -> None:
    """For who has no metrics."""


def death_teller(telemetry: Telemetry) -> TellDeath:
    def tell(why: Death) -> None:
        telemetry.add(metrics.ALGORITHM_DEATHS, reason=why)

    return tell


def teller(telemetry: Telemetry) -> TellComputed:
    """Told by point, so that the count is of points. Of an answer that has none, nothing."""

    def tell(computed: Computed) -> None:
        for _ in range(computed.points):
            telemetry.observe(
                metrics.ALGORITHM, computed.took_s / computed.points, algorithm=computed.algorithm
            )
        if computed.waited_s is not None:
            telemetry.observe(metrics.ALGORITHM_QUEUE, computed.waited_s)

    return tell
