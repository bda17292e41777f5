"""A run that a worker asked for: how its lease begins, is renewed and ends. Pure.

The worker is promised `lease_s` from each of its words. What is stored may lag behind that by a
quarter, so that not every word is a write; so a lease is lost a quarter after the promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trialbus.kernel.ids import run_id
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.run import Run, RunPhase, RunVerdict, StopReason
from trialbus.kernel.trial import MetricValues

# Stands where other runs name their machine: a lease belongs to none.
WORKERS = "workers"
_LAG = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An attempt that its experiment has open. trial: its name. traceparent: as its run is to have
    it."""

    uid: str
    namespace: str
    experiment: str
    trial: str
    index: int
    attempt: int
    traceparent: str | None = None

    @property
    def run_id(self) -> str:
        return run_id(self.uid, self.index, self.attempt)


def leased(place: Place, *, worker: str, ask: str, lease_s: float, now: float) -> Run:
    """The claim: who inserts it has the trial."""
    return Run(
        id=place.run_id,
        uid=place.uid,
        index=place.index,
        attempt=place.attempt,
        version=1,
        namespace=place.namespace,
        experiment=place.experiment,
        trial=place.trial,
        phase=RunPhase.RUNNING,
        host=WORKERS,
        boot_id="",
        created_at=now,
        started_at=now,
        worker=worker,
        ask=ask,
        lease_s=lease_s,
        lease_until=_until(now, lease_s),
        traceparent=place.traceparent,
    )


def never_leased(place: Place, reason: str, now: float) -> Run:
    """The attempt is to be stopped before anybody asked for it."""
    run = leased(place, worker="", ask="", lease_s=1.0, now=now)
    return replace(
        run,
        phase=RunPhase.FINISHED,
        ask=None,
        started_at=None,
        finished_at=now,
        stop_reason=reason,
        message="stopped before it was given out",
        lease_until=None,
        told=(),
    )


def renewed(run: Run, now: float) -> Run | None:
    """With a lease from now on; None: what is stored is near enough."""
    until = _until(now, run.lease_s)
    if run.lease_until is not None and until - run.lease_until < _LAG * run.lease_s:
        return None
    return replace(run, version=run.version + 1, lease_until=until)


def lost(run: Run, now: float) -> Run:
    """Nothing was heard of it for too long."""
    message = f"nothing was heard of worker {run.worker!r} for {run.lease_s:g} s"
    return _ended(run, now, phase=RunPhase.LOST, message=message)


def released(run: Run, now: float) -> Run:
    """Given back undone."""
    message = f"given back by worker {run.worker!r}"
    return _ended(
        run, now, phase=RunPhase.LOST, message=message, stop_reason=StopReason.RELEASED.value
    )


def stopped(run: Run, reason: str, now: float, *, reported: bool) -> Run:
    """Taken back, at once: its worker hears of it with its next word."""
    return replace(
        _ended(run, now, phase=RunPhase.FINISHED, stop_reason=reason),
        told=None if reported else (),
    )


def told(
    run: Run,
    now: float,
    *,
    succeeded: bool,
    message: str,
    metrics: Mapping[str, float],
    reported: bool,
) -> Run:
    """Its worker says how it ended. reported: metrics came before, so all are in its chunks."""
    return replace(
        _ended(run, now, phase=RunPhase.FINISHED, message=message),
        verdict=RunVerdict.SUCCEEDED if succeeded else RunVerdict.FAILED,
        told=None if reported else single_values(metrics),
    )


def single_values(metrics: Mapping[str, float]) -> tuple[MetricValues, ...]:
    return tuple(
        MetricValues(name=name, min=value, max=value, latest=value)
        for name, value in metrics.items()
    )


def _until(now: float, lease_s: float) -> float:
    return now + lease_s * (1 + _LAG)


def _ended(
    run: Run, now: float, *, phase: RunPhase, message: str = "", stop_reason: str = ""
) -> Run:
    return replace(
        run,
        version=run.version + 1,
        phase=phase,
        finished_at=now,
        message=message[:MAX_MESSAGE_CHARS],
        stop_reason=stop_reason,
        lease_until=None,
    )
