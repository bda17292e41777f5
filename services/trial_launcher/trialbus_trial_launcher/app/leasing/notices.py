"""What became of leases, told to others: after the commit, and never in the way of an answer."""

import asyncio
from collections.abc import Sequence

from trialbus.kernel.run import Run
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.run_notices import begun_notices, ended_notices

# What changes so close together is one event.
_LINGER_S = 0.004


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
        while True:
            await self._wake.wait()
            await self._parts.clock.sleep(_LINGER_S)
            self._wake.clear()
            runs, self._runs = self._runs, []
            ended = ended_notices(run for run in runs if run.ended)
            begun = begun_notices([run for run in runs if run.version == 1 and not run.ended])
            await self._parts.outbox.publish_notices([*ended, *begun])
