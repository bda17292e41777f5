"""Troubles that last: said when they begin, ever less often, and when they are over."""

from typing import Any

from structlog.testing import capture_logs

from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.still_world import HastyClock
from trialbus_gateway.app.lasting_troubles import LastingTroubles


class Ticking(HastyClock):
    at = 0.0

    def monotonic(self) -> float:
        return self.at


def met_every(seconds: float, *, until: float) -> list[tuple[float, Any]]:
    """When it was said, and what, of a trouble that is met so often and then over."""
    clock, said = Ticking(), list[tuple[float, Any]]()
    with capture_logs() as logs:
        troubles = LastingTroubles(clock, Telemetry("gateway").log)
        while clock.at <= until:
            troubles.met("kind", "there is no kind", error=f"at {clock.at:g}")
            said += [(clock.at, it) for it in logs]
            logs.clear()
            clock.at += seconds
        troubles.over("kind")
        troubles.over("kind")
        said += [(clock.at, it) for it in logs]
    return said


def test_it_is_said_at_once_and_at_most_once_a_minute_in_the_end() -> None:
    *lasting, (_, over) = met_every(1.0, until=300.0)
    assert [at for at, _ in lasting] == [0, 5, 15, 35, 75, 135, 195, 255]
    assert {it["event"] for _, it in lasting} == {"there is no kind"}
    first, second = (it for _, it in lasting[:2])
    assert "times" not in first
    assert (second["error"], second["times"], second["since_s"]) == ("at 5", 6, 5)
    assert (over["event"], over["trouble"]) == ("trouble is over", "there is no kind")
    assert (over["log_level"], over["times"], over["lasted_s"]) == ("info", 301, 301.0)


def test_each_trouble_has_its_own_time_and_begins_anew_after_its_end() -> None:
    clock = Ticking()
    with capture_logs() as logs:
        troubles = LastingTroubles(clock, Telemetry("gateway").log)
        for key in ("a", "b", "a", "b"):
            troubles.met(key, f"trouble of {key}")
        troubles.over("a")
        troubles.met("a", "trouble of a")
    assert [it["event"] for it in logs] == [
        "trouble of a",
        "trouble of b",
        "trouble is over",
        "trouble of a",
    ]
