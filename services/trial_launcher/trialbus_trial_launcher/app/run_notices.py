"""What the launcher tells of runs: one event for each experiment and kind, after the commit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_TOLD_ITEMS
from trialbus.kernel.run import Run, RunPhase


def begun_notices(runs: Sequence[Run]) -> list[Event]:
    """Of claimed runs: those that began, and those that never will."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        type_ = "run.finished" if run.ended else "run.started"
        groups.setdefault((run.uid, type_), []).append(run)
    return [
        Event(
            id=f"{own[0].id}@1.{type_}",
            type=type_,
            uid=uid,
            namespace=own[0].namespace,
            experiment=own[0].experiment,
            at=own[0].created_at,
            data={
                "count": len(own),
                "runs": [
                    {"trial": run.trial, "attempt": run.attempt} for run in own[:MAX_TOLD_ITEMS]
                ],
            },
        )
        for (uid, type_), own in groups.items()
    ]


def ended_notices(ended: Iterable[Run]) -> list[Event]:
    """One for each experiment and kind of end."""
    groups: dict[tuple[str, RunPhase], list[Run]] = defaultdict(list)
    for run in ended:
        groups[run.uid, run.phase].append(run)
    return [_ended_notice(runs, phase) for (_, phase), runs in groups.items()]


def _ended_notice(runs: Sequence[Run], phase: RunPhase) -> Event:
    first = runs[0]
    type_ = "run.lost" if phase is RunPhase.LOST else "run.finished"
    return Event(
        id=f"{first.id}@{first.version}.{type_}",
        type=type_,
        uid=first.uid,
        namespace=first.namespace,
        experiment=first.experiment,
        at=max(run.finished_at or run.created_at for run in runs),
        message=f"{len(runs)} ended",
        data={"count": len(runs), "runs": [_told(run) for run in runs[:MAX_TOLD_ITEMS]]},
    )


def _told(run: Run) -> dict[str, object]:
    told: dict[str, object] = {"trial": run.trial, "attempt": run.attempt}
    if run.exit_code is not None:
        told["exitCode"] = run.exit_code
    if run.signal is not None:
        told["signal"] = run.signal
    if run.stop_reason:
        told["stopReason"] = run.stop_reason
    return told
