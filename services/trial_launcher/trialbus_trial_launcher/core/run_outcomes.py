"""What an ended run came to, in a word."""

from trialbus.kernel.run import Run, RunPhase, RunVerdict, StopReason

# Stopped by us, but for what its command did.
_ITS_OWN_FAULT = frozenset({StopReason.DEADLINE_EXCEEDED.value, StopReason.OUTPUT_LIMIT.value})


def outcome_of(run: Run) -> str:
    """`succeeded`, `failed`, `stopped` (by us, or given back by its worker) or `lost`."""
    if run.phase is RunPhase.LOST:
        return "stopped" if run.stop_reason == StopReason.RELEASED.value else "lost"
    if run.verdict is RunVerdict.SUCCEEDED:
        return "succeeded"
    if run.verdict is not None or run.stop_reason in _ITS_OWN_FAULT:
        return "failed"
    if run.stop_reason:
        return "stopped"
    return "succeeded" if run.exit_code == 0 else "failed"
