"""Ends what is left of runs, off the loop; one scan of the machine serves all who ask."""

import asyncio

from trialbus_trial_launcher.adapters.local_process.processes import kill_marked


class Sweeper:
    def __init__(self) -> None:
        self._asked: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None

    def ask(self, mark: bytes) -> None:
        """Kills, soon, every process that carries the mark."""
        self._asked.add(mark)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Waits for what was asked."""
        if self._task is not None:
            await self._task

    async def _sweep(self) -> None:
        while self._asked:
            marks, self._asked = self._asked, set()
            await asyncio.to_thread(kill_marked, marks)
