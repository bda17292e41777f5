"""What the gateway counts of its two ports."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from trialbus.ports.clock import Clock
from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry

# Codes of answers to requests that were not let in, and why.
_REFUSALS: Mapping[str, str] = {
    "401": "unauthenticated",
    "403": "forbidden",
    "413": "size",
    "429": "rate",
}


class ObservedHttp:
    """passed_on: the route of what others answer; whom they turn away is not ours to count."""

    def __init__(self, telemetry: Telemetry, clock: Clock, *, passed_on: str) -> None:
        self._telemetry = telemetry
        self._monotonic: Callable[[], float] = clock.monotonic
        self._passed_on = passed_on
        self._in_flight = 0
        telemetry.watch(metrics.HTTP_IN_FLIGHT, lambda: self._in_flight)

    def began(self) -> float:
        self._in_flight += 1
        return self._monotonic()

    def answered(self, began: float, route: str, method: str, code: str) -> None:
        telemetry = self._telemetry
        self._in_flight -= 1
        taken_s = self._monotonic() - began
        telemetry.observe(metrics.HTTP, taken_s, route=route, method=method, code=code)
        if code in _REFUSALS and route != self._passed_on:
            telemetry.add(metrics.DOOR_REFUSALS, reason=_REFUSALS[code])

    @contextmanager
    def streaming(self, kind: str) -> Iterator[None]:
        self._telemetry.add(metrics.STREAMS, kind=kind)
        try:
            yield
        finally:
            self._telemetry.add(metrics.STREAMS, -1, kind=kind)


def refusals_of(telemetry: Telemetry) -> Callable[[str], None]:
    """Counts callers of the gRPC port that the door did not let in, by reason."""
    return lambda reason: telemetry.add(metrics.DOOR_REFUSALS, reason=reason)
