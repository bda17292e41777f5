"""The attempts that this launcher has in its hand, as its metrics tell of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from trialbus.kernel.run import Run
from trialbus.kernel.traces import TraceContext, kept
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.core.run_outcomes import outcome_of

# `command`: what is to be launched cannot be, its owner's matter; `machine`: what launches it.
LaunchFailure = Literal["command", "machine"]


class LaunchObserver(Protocol):
    """Told by the place where runs execute, of what it does not know too."""

    def launched(self, run_id: str) -> None:
        """Its process is spawned, its object is there."""

    def found(self, run_id: str) -> None:
        """It is there, whoever launched it. May be told again."""

    def failed(self, run_id: str, why: LaunchFailure) -> None:
        """It could not be launched: it ends so, or is tried again."""

    def running(self, run_id: str) -> None:
        """Its command runs, or has run by now. May be told again."""


class NobodyObserves:
    def launched(self, run_id: str) -> None:
        """Nobody wants to know."""

    def found(self, run_id: str) -> None:
        """Nobody wants to know."""

    def failed(self, run_id: str, why: LaunchFailure) -> None:
        """Nobody wants to know."""

    def running(self, run_id: str) -> None:
        """Nobody wants to know."""


@dataclass(slots=True, kw_only=True)
class _Held:
    """opened_at: when the experiment opened the attempt. launched_at: by this process. ours: it was
    claimed by this process, or is known to be taken over. trace: of its experiment, if kept."""

    opened_at: float
    trace: TraceContext | None
    ours: bool
    launched_at: float | None = None
    running: bool = False
    incomplete: bool = False


class Hand:
    """place: `process`, where a command runs as soon as it is launched, or `cluster`."""

    def __init__(self, parts: Parts, place: str) -> None:
        self._telemetry = parts.telemetry
        self._clock = parts.clock
        self._place = place
        # By experiment and run id.
        self._runs: dict[str, dict[str, _Held]] = {}

    def claim(self, run: Run, opened_at: float) -> None:
        """After the commit: it is this launcher's to launch."""
        trace = kept(run.traceparent)
        self._add(run.id, _Held(opened_at=opened_at, trace=trace, ours=True))

    def take(self, run: Run, opened_at: float) -> None:
        """Of another process, or of this one in an earlier life: what it is will be seen."""
        if self._held(run.id) is None:
            trace = kept(run.traceparent)
            self._add(run.id, _Held(opened_at=opened_at, trace=trace, ours=False))

    def found(self, run_id: str) -> None:
        held = self._held(run_id)
        if held is None:
            return
        if not held.ours:
            held.ours = True
            self._telemetry.add(metrics.ADOPTIONS, place=self._place)
        if self._place == "process":
            self.running(run_id)

    def launched(self, run_id: str) -> None:
        held = self._held(run_id)
        if held is None:
            return
        now = self._clock.now()
        is_overtaken = held.running and held.launched_at is None
        held.launched_at, held.ours = now, True
        waited_s = now - held.opened_at
        self._telemetry.observe(metrics.LAUNCHED, waited_s, held.trace, place=self._place)
        if self._place == "process":
            self.running(run_id)
        elif is_overtaken:
            # The news of its pod came before the answer to the creation of its object.
            self._telemetry.observe(metrics.STARTED, 0.0, held.trace, place=self._place)

    def failed(self, run_id: str, why: LaunchFailure) -> None:
        if self._held(run_id) is not None:
            self._telemetry.add(metrics.SPAWN_FAILURES, place=self._place, reason=why)

    def running(self, run_id: str) -> None:
        held = self._held(run_id)
        if held is None or held.running:
            return
        held.running = True
        self._tell("waiting", -1)
        self._tell("running", 1)
        if held.launched_at is not None and self._place != "process":
            taken_s = self._clock.now() - held.launched_at
            self._telemetry.observe(metrics.STARTED, taken_s, held.trace, place=self._place)

    def incomplete(self, run_id: str) -> None:
        """Not all of its metrics could be stored."""
        held = self._held(run_id)
        if held is not None:
            held.incomplete = True

    def ended(self, run: Run) -> None:
        """After the commit of its end by this process."""
        self._telemetry.add(metrics.RUNS_ENDED, place=self._place, outcome=outcome_of(run))
        held = self._held(run.id)
        if held is not None and held.incomplete:
            self._telemetry.add(metrics.INCOMPLETE)
        self.drop(run.id)

    def drop(self, run_id: str) -> None:
        """Others have recorded its end, or nobody wants it any more."""
        uid = _uid(run_id)
        runs = self._runs.get(uid, {})
        held = runs.pop(run_id, None)
        if held is not None:
            self._tell("running" if held.running else "waiting", -1)
        if not runs:
            self._runs.pop(uid, None)

    def keep(self, uid: str, wanted: Collection[str]) -> None:
        """Of an experiment no others than these are to be in hand."""
        for run_id in [it for it in self._runs.get(uid, ()) if it not in wanted]:
            self.drop(run_id)

    def _held(self, run_id: str) -> _Held | None:
        return self._runs.get(_uid(run_id), {}).get(run_id)

    def _add(self, run_id: str, held: _Held) -> None:
        runs = self._runs.setdefault(_uid(run_id), {})
        if run_id not in runs:
            runs[run_id] = held
            self._tell("waiting", 1)

    def _tell(self, state: str, change: int) -> None:
        self._telemetry.add(metrics.RUNS, change, place=self._place, state=state)


def _uid(run_id: str) -> str:
    """Of what starts beside a run another text, which nobody has."""
    return run_id.rsplit(".", 2)[0]
