"""What became of leases, told to others: after the commit, and never in the way of an answer."""

import asyncio
from collections.abc import Sequence

from trialbus.kernel.run import Run
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.run_notices import begun_notices, ended_notices
from trialbus_trial_launcher.app.run_spans import in_traces

# What changes so close together is one event.
_LINGER_S = 0.004
# Under load events come no sooner after one another.
_APART_S = 0.02


class Notices:
    """Losing one costs a sweep."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runs: list[Run] = []
        self._wake = asyncio.Event()

    def add(self, runs: Sequence[Run]) -> None:
        """Runs as they have just been committed."""
        self._runs += runs
        if self._runs:
            self._wake.set()

    async def publish(self) -> None:
        """For ever: tell what is added."""
        clock, next_at = self._parts.clock, 0.0
        while True:
            await self._wake.wait()
            await clock.sleep(max(_LINGER_S, next_at - clock.monotonic()))
            next_at = clock.monotonic() + _APART_S
            self._wake.clear()
            runs, self._runs = self._runs, []
            ended = [run for run in runs if run.ended]
            # Of those that have ended by now their ends are the news.
            over = {run.id for run in ended}
            begun = [run for run in runs if run.version == 1 and run.id not in over]
            notices = [*ended_notices(ended), *begun_notices(begun)]
            tracing = self._parts.telemetry.tracing
            await self._parts.outbox.publish_notices(in_traces(notices, tracing, runs))
