"""What the gateway's own answers look like as JSON; docs/reference/http.md describes them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.experiment import Experiment
from trialbus_gateway.app.metrics import TrialMetrics
from trialbus_gateway.core.progress import Process, TrialCounts
from trialbus_gateway.core.stories import Story, standing_of
from trialbus_gateway.core.trial_story import TrialStory

Json = dict[str, Any]


def story_answer(story: Story) -> Json:
    return {
        "subject": story.subject,
        "uid": story.uid,
        "state": story.state,
        "reason": story.standing.reason,
        "message": story.standing.message,
        "chain": [{**asdict(step), "at": moment(step.at)} for step in story.chain],
    }


def trial_story_answer(told: TrialStory) -> Json:
    return {
        **story_answer(told.story),
        "exitCode": told.exit_code,
        "signal": told.signal,
        "stopReason": told.stop_reason,
        "evidence": None if told.evidence is None else _evidence(told.evidence),
        "logTail": told.log_tail,
    }


def _evidence(verdict: StoppingVerdict) -> Json:
    return {
        "rule": verdict.rule,
        "stop": verdict.stop,
        "step": verdict.step,
        "reason": verdict.reason,
        "best": verdict.best,
        "median": verdict.median,
        "numbers": dict(verdict.numbers),
        "completed": verdict.completed,
        "watermark": verdict.watermark,
        "decidedAt": moment(verdict.decided_at),
    }


def progress_answer(
    state: Experiment,
    counts: TrialCounts,
    process: Process | None,
    now: float,
    *,
    artifacts: str | None = None,
) -> Json:
    """process, artifacts: of the best trial."""
    standing, spec = standing_of(state), state.spec
    return {
        "uid": state.id,
        "namespace": state.namespace,
        "name": state.name,
        "phase": state.phase.value,
        "reason": standing.reason,
        "message": standing.message,
        "startTime": moment_or_none(state.started_at),
        "completionTime": moment_or_none(state.completed_at),
        "parallel": spec.parallel_trial_count,
        "max": spec.max_trial_count,
        "goal": spec.objective.goal,
        "spent": {
            "seconds": round(state.ran_until(now), 3),
            "maxSeconds": spec.max_duration_s,
            "resourceSeconds": round(state.spent, 3),
            "maxResourceSeconds": spec.max_resource_seconds,
            "resource": spec.counted_resource.value,
        },
        "objective": {"type": spec.objective.type.value, "name": spec.objective.metric},
        "trials": {
            "created": counts.created,
            "pending": counts.pending,
            "paused": counts.paused,
            "running": counts.running,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "killed": counts.killed,
            "earlyStopped": counts.early_stopped,
            "metricsUnavailable": counts.metrics_unavailable,
        },
        "best": _best(state, process, artifacts),
    }


def metrics_answer(found: TrialMetrics) -> Json:
    return {
        "trial": found.trial,
        "attempt": found.attempt,
        "metrics": [
            {
                "name": series.name,
                "steps": series.steps,
                "values": series.values,
                "times": series.times,
                "count": series.count,
            }
            for series in found.metrics
        ],
        "truncated": found.truncated,
    }


def moment(at: float) -> str:
    """RFC 3339 with milliseconds."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def moment_or_none(at: float | None) -> str | None:
    return None if at is None else moment(at)


def _best(state: Experiment, process: Process | None, artifacts: str | None) -> Json | None:
    best = state.best
    if best is None:
        return None
    return {
        "trial": best.name,
        "value": best.text or best.value,
        "parameters": {item.name: item.value for item in best.assignments},
        "command": None if process is None else list(process.command),
        "workingDir": None if process is None else process.working_dir,
        "env": {} if process is None else dict(process.env),
        "checkpoint": _checkpoint(process),
        "artifacts": artifacts,
    }


def _checkpoint(process: Process | None) -> Json | None:
    if process is None or process.checkpoint is None:
        return None
    return {"path": process.checkpoint.path, "copyOf": process.checkpoint.copy_of or None}
