"""Collectors that report by themselves: the trial's own code (Push), or a process beside it."""

import json

from trialbus.kernel.ids import collector_run_id
from trialbus.kernel.limits import CUSTOM_COLLECTOR_DEADLINE_S, MAX_MESSAGE_CHARS
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.run import StopReason
from trialbus.ports.clock import Clock
from trialbus.ports.launcher import RunState, RunStatus
from trialbus_trial_launcher.app.sources.source import NoLines, Watched

# In the collector's folder, once its trial has ended.
ENDED_FILE = "trial-ended.json"
TRIAL_ENDED = "TrialEnded"
_LOOK_INTERVAL_S = 0.2
_LOG_BYTES = 400
# Ends of a trial whose metrics still count.
_AWAITED = frozenset(
    {
        "",
        StopReason.EARLY_STOPPED.value,
        StopReason.DEADLINE_EXCEEDED.value,
        StopReason.OUTPUT_LIMIT.value,
    }
)


class PushSource:
    """Push: nothing is read here; only the end of the observation is told."""

    is_live = False
    missing = ""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def reader(self, start: int) -> LineReader:
        return NoLines(start=start)

    async def gather(self) -> None:
        """The trial reports."""

    async def finish(self, _status: RunStatus, /) -> int:
        return 0

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def read(self, _from_byte: int, _max_bytes: int, /) -> bytes:
        return b""

    async def looked(self) -> str:
        return f"waited for the trial to report {self._watched.metric!r} (collector Push)"


class CustomSource(PushSource):
    """Custom: a process beside the trial reports, and has its time to end after the trial."""

    def __init__(self, watched: Watched, *, clock: Clock, grace_s: float) -> None:
        super().__init__(watched)
        self._clock = clock
        self._grace_s = grace_s
        self._run_id = collector_run_id(watched.run_id)

    async def finish(self, status: RunStatus, /) -> int:
        """Waits for its end."""
        told = {"exitCode": status.exit_code, "signal": status.signal}
        await self._watched.launcher.keep(
            self._run_id, ENDED_FILE, 0, f"{json.dumps(told)}\n".encode()
        )
        ended_at = self._clock.now() if status.finished_at is None else status.finished_at
        patience_s = CUSTOM_COLLECTOR_DEADLINE_S if status.stop_reason in _AWAITED else 0.0
        while (await self._status()).state is RunState.RUNNING:
            if self._clock.now() >= ended_at + patience_s:
                await self._stop()
            await self._clock.sleep(_LOOK_INTERVAL_S)
        return 0

    async def abandon(self) -> None:
        if (await self._status()).state is RunState.RUNNING:
            await self._stop()

    async def looked(self) -> str:
        status = await self._status()
        start = max(0, status.output_bytes - _LOG_BYTES)
        log = await self._watched.launcher.read(self._run_id, start, _LOG_BYTES)
        last = " ".join(log.decode(errors="replace").split())
        return (
            f"waited for the custom collector to report {self._watched.metric!r}; "
            f"it {_how(status)}{f': {last}' if last else ''}"
        )[:MAX_MESSAGE_CHARS]

    async def _status(self) -> RunStatus:
        return (await self._watched.launcher.status([self._run_id]))[self._run_id]

    async def _stop(self) -> None:
        await self._watched.launcher.stop(self._run_id, reason=TRIAL_ENDED, grace_s=self._grace_s)


def _how(status: RunStatus) -> str:
    if status.message:
        return f"did not run ({status.message})"
    if status.stop_reason == TRIAL_ENDED:
        return f"was stopped {CUSTOM_COLLECTOR_DEADLINE_S:g} s after its trial had ended"
    if status.exit_code is not None:
        return f"ended with exit code {status.exit_code}"
    if status.signal is not None:
        return f"was ended by signal {status.signal}"
    return "was lost" if status.state is RunState.LOST else "never started"
