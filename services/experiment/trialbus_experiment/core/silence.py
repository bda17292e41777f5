"""Running trials that report nothing: which of them are asked after, and for how long they have
been silent."""

from collections.abc import Mapping

# Most programs report each epoch, and few epochs take longer.
SILENT_S = 600.0
# So that what a look costs does not grow with the number of trials: who is silent is asked after
# again, who is not when it might be.
ASK_AGAIN_S = 60.0
MAX_ASKED = 200


class Silence:
    """Times are in seconds since the epoch, of one clock or of several that nearly agree."""

    def __init__(self) -> None:
        # By run: when it was last known to say something, which its begin is; when it was asked
        # after.
        self._said: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def due(self, running: Mapping[str, float], now: float) -> list[str]:
        """Runs whose last report is to be read, who waits for that longest first. running: all that
        run, and since when; others are forgotten."""
        self._said = {run: max(self._said.get(run, at), at) for run, at in running.items()}
        self._asked = {run: at for run, at in self._asked.items() if run in running}
        wanted = [
            run
            for run, at in self._said.items()
            if now - at >= SILENT_S and now - self._asked_at(run) >= ASK_AGAIN_S
        ]
        return sorted(wanted, key=lambda run: (self._asked_at(run), self._said[run]))[:MAX_ASKED]

    def hear(self, reported: Mapping[str, float | None], now: float) -> None:
        """reported: of each run that was due when it last reported something; None: never."""
        for run, at in reported.items():
            self._asked[run] = now
            self._said[run] = max(self._said[run], at or 0.0)

    def lasting(self, now: float) -> list[float]:
        """For how long each that is silent has been: none of those that are yet to be asked after
        since they might be."""
        return [
            now - at
            for run, at in self._said.items()
            if now - at >= SILENT_S and self._asked_at(run) - at >= SILENT_S
        ]

    def _asked_at(self, run: str) -> float:
        return self._asked.get(run, 0.0)
