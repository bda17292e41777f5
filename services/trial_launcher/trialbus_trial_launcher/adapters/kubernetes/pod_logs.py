"""Outputs of runs for people, read from their pods."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from trialbus.kernel import limits
from trialbus.ports.clock import Clock
from trialbus.ports.launcher import RunState, RunStatus
from trialbus_trial_launcher.adapters.kubernetes.launcher import ClusterLauncher

# Whoever follows an output asks five times a second.
_FRESH_S = 1.0


class PodLogs:
    """What `app.logs` needs of a launcher. A log is kept for a moment, so that its pieces are not
    each the whole of it."""

    def __init__(self, launcher: ClusterLauncher, clock: Clock) -> None:
        self._launcher = launcher
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        found = await self._launcher.status(run_ids)
        return {key: await self._sized(status) for key, status in found.items()}

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        _, data = self._kept.get(run_id, (0.0, b""))
        return data[from_byte : from_byte + max_bytes]

    async def _sized(self, status: RunStatus) -> RunStatus:
        if status.state is RunState.ABSENT:
            return status
        now = self._clock.monotonic()
        at, data = self._kept.get(status.run_id, (float("-inf"), b""))
        if now - at > _FRESH_S:
            # What is gone with its pod is still told to whoever reads it.
            data = await self._launcher.log_of(status.run_id, tail=False) or data
            self._kept[status.run_id] = (now, data)
            self._kept.move_to_end(status.run_id)
            while len(self._kept) > limits.MAX_CLUSTER_LOGS:
                self._kept.popitem(last=False)
        return replace(status, output_bytes=len(data))
