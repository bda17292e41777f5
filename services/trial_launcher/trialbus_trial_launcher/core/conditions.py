"""The Job that Kubernetes would show of an ended run, and what a template's conditions say of it.

The status is that of Kubernetes 1.32. The conditions are GJSON paths into the object, read as Katib
does it (job_util.go): what is found is an object or a list that is not empty; failure before
success; reason and message are those of the first that is found.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pygjson

from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.run import Run, RunPhase, RunVerdict, StopReason

Json = Any

_COMPLETE = ("CompletionsReached", "Reached expected number of succeeded pods")
_LATE = (StopReason.DEADLINE_EXCEEDED.value, "Job was active longer than specified deadline")
# Our own limits, and what a user's command did: all other stops are decisions about the trial.
_JUDGED_STOPS = frozenset(
    {"", StopReason.DEADLINE_EXCEEDED.value, StopReason.OUTPUT_LIMIT.value},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """GJSON paths into the Job."""

    success: str
    failure: str


def is_judged(run: Run) -> bool:
    """Whether its end is the command's own, and not our decision to stop it."""
    return run.phase is RunPhase.FINISHED and run.stop_reason in _JUDGED_STOPS


def ended_job(
    rendered: Mapping[str, Json], run: Run, *, started_at: str | None, finished_at: str
) -> dict[str, Json]:
    """`rendered` with the status of the run's end. Times: as Kubernetes writes them."""
    succeeded = run.exit_code == 0 and not run.stop_reason
    reason, message = _COMPLETE if succeeded else _failure(run)
    types = ("SuccessCriteriaMet", "Complete") if succeeded else ("FailureTarget", "Failed")
    status: dict[str, Json] = {
        "conditions": [
            {
                "type": type_,
                "status": "True",
                "lastProbeTime": finished_at,
                "lastTransitionTime": finished_at,
                "reason": reason,
                "message": message,
            }
            for type_ in types
        ],
        "startTime": started_at or finished_at,
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
    }
    if succeeded:
        status |= {"completionTime": finished_at, "succeeded": 1}
    else:
        status["failed"] = 1
    return {**rendered, "status": status}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the condition that matched says. reason, message: of what it found."""

    verdict: RunVerdict
    reason: str
    message: str


def verdict_of(item: str, conditions: Conditions) -> Said | None:
    """item: a whole object as JSON. None: neither matches."""
    for verdict, path in (
        (RunVerdict.FAILED, conditions.failure),
        (RunVerdict.SUCCEEDED, conditions.success),
    ):
        found = _first_match(item, path)
        if found is not None:
            return Said(
                verdict=verdict, reason=_text(found, "reason"), message=_text(found, "message")
            )
    return None


def judged(run: Run, job: Mapping[str, Json], conditions: Conditions) -> Run:
    """The run with what the conditions say of its Job."""
    said = verdict_of(json.dumps(job), conditions)
    if said is None:
        return replace(run, verdict=RunVerdict.UNDECIDED)
    return replace(run, verdict=said.verdict, job_reason=said.reason, job_message=said.message)


def _failure(run: Run) -> tuple[str, str]:
    if run.stop_reason == StopReason.DEADLINE_EXCEEDED.value:
        return _LATE
    if run.stop_reason:
        return run.stop_reason, f"Job was stopped: {run.stop_reason}"
    how = f"signal {run.signal}" if run.exit_code is None else f"exit code {run.exit_code}"
    return "BackoffLimitExceeded", f"Job has reached the specified backoff limit: {how}"


def _first_match(job: str, path: str) -> Mapping[str, Json] | None:
    """None: no match. A list of other things than objects is a match without reason."""
    found = pygjson.get(job, path)
    if not found.exists():
        return None
    # The library has its own type for inner values; text is what both sides know.
    value = json.loads(str(found.to_str())) if found.type_ in (dict, list) else None
    if isinstance(value, list):
        value = (value[0] if isinstance(value[0], dict) else {}) if value else None
    return value if isinstance(value, dict) else None


def _text(found: Mapping[str, Json], name: str) -> str:
    value = found.get(name)
    return value[:MAX_MESSAGE_CHARS] if isinstance(value, str) else ""
