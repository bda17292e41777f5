"""Gauges that every replica tells of the whole system.

Of these the largest counts, so one replica that is cut off and goes on to tell what it saw last
would hide what the others see: after some looks that failed it tells nothing, and its series are
gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from trialbus.kernel.errors import Transient
from trialbus.runtime.metric import Metric
from trialbus.runtime.telemetry import Telemetry

# Fewer are a server that changes its leader.
MAX_FAILED_LOOKS = 3


class SharedGauges:
    """gauges: those that are told together, by looks at one server."""

    def __init__(self, telemetry: Telemetry, *gauges: Metric) -> None:
        self._telemetry = telemetry
        self._gauges = gauges
        self._failed = 0

    @contextmanager
    def look(self) -> Iterator[None]:
        """Around reading and telling them. Transient goes on to the caller."""
        try:
            yield
        except Transient:
            self._failed += 1
            if self._failed == MAX_FAILED_LOOKS:
                for gauge in self._gauges:
                    self._telemetry.hide(gauge)
            raise
        self._failed = 0
