"""What a process looks at beside its work: its own event loop, and what waits for it on the bus."""

from collections.abc import Awaitable, Callable

from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock
from trialbus.runtime import metrics
from trialbus.runtime.shared_gauges import SharedGauges
from trialbus.runtime.store_and_bus import ObservedBus
from trialbus.runtime.telemetry import Telemetry

LOOP_EVERY_S = 0.5
# Each look is one request for every partition of every queue, which the server answers from memory.
BUS_EVERY_S = 10.0


class Watching:
    """reconnects: how often the connection to the bus has been made again so far."""

    def __init__(
        self, bus: ObservedBus, telemetry: Telemetry, clock: Clock, reconnects: Callable[[], int]
    ) -> None:
        self._bus = bus
        self._telemetry = telemetry
        self._clock = clock
        self._reconnects = reconnects
        self._counted = 0
        self._backlog = SharedGauges(telemetry, metrics.CONSUMER_PENDING, metrics.CONSUMER_IN_HAND)

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Each goes on for ever."""
        return (self._watch_loop, self._watch_bus)

    async def _watch_loop(self) -> None:
        while True:
            due = self._clock.monotonic() + LOOP_EVERY_S
            await self._clock.sleep(LOOP_EVERY_S)
            self._telemetry.observe(metrics.LOOP_DELAY, self._clock.monotonic() - due)

    async def _watch_bus(self) -> None:
        while True:
            await self._clock.sleep(BUS_EVERY_S)
            try:
                await self.look_at_bus()
            except Transient as error:
                self._telemetry.log.debug("backlog is not known", error=str(error))

    async def look_at_bus(self) -> None:
        """Raises Transient."""
        counted = self._reconnects()
        self._telemetry.add(metrics.RECONNECTS, counted - self._counted)
        self._counted = counted
        with self._backlog.look():
            found = [await self._bus.backlog(queue) for queue in sorted(self._bus.queues)]
            self._telemetry.set(metrics.CONSUMER_PENDING, sum(it.pending for it in found))
            self._telemetry.set(metrics.CONSUMER_IN_HAND, sum(it.in_hand for it in found))
