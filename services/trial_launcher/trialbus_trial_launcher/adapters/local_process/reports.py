"""What is seen of a run, as the status that the port promises."""

import signal

from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.ports.launcher import RunState, RunStatus
from trialbus_trial_launcher.adapters.local_process.folders import RunFolders, Sight
from trialbus_trial_launcher.adapters.local_process.journal import Ending, Journal
from trialbus_trial_launcher.adapters.local_process.missing import NOT_EXECUTABLE, NOT_FOUND
from trialbus_trial_launcher.adapters.local_process.spawn import WRAPPER_NAME

# Where the wrapper's shell says why it could not execute the command.
_HEAD_BYTES = 4096
_NEVER_STARTED = "stopped before it started"


def status_of(run_id: str, sight: Sight | None, folders: RunFolders) -> RunStatus:
    """The rule of states: a result means finished, else a held lock means running, else it is
    lost, or has ended if we wanted that."""
    if sight is None:
        return RunStatus(run_id=run_id, state=RunState.ABSENT)
    journal = sight.journal
    started_at = journal.claim.started_at if journal.claim else None
    stop_reason = journal.stop.reason if journal.stop else ""
    ending = journal.ending
    if sight.running:
        return RunStatus(
            run_id=run_id,
            state=RunState.RUNNING,
            started_at=started_at,
            stop_reason=stop_reason,
            output_bytes=sight.output_bytes,
        )
    if ending is None and journal.stop is not None:
        ending = Ending(signal=int(signal.SIGKILL))
    never_started = ending is not None and ending.exit_code is None and ending.signal is None
    return RunStatus(
        run_id=run_id,
        state=RunState.LOST if ending is None else RunState.FINISHED,
        started_at=None if never_started else started_at,
        finished_at=None if ending is None else _finished_at(sight),
        exit_code=ending.exit_code if ending else None,
        signal=ending.signal if ending else None,
        stop_reason=stop_reason,
        message=_NEVER_STARTED if never_started else _message(run_id, journal, ending, folders),
        output_bytes=sight.output_bytes,
    )


def _finished_at(sight: Sight) -> float:
    """The shell has no clock, so it is the time of the last line; file times are coarser than
    the clock, so they may lie a few milliseconds before the start."""
    started_at = sight.journal.claim.started_at if sight.journal.claim else 0.0
    return max(round(sight.changed_at, 3), started_at)


def _message(run_id: str, journal: Journal, ending: Ending | None, folders: RunFolders) -> str:
    """Only what went wrong outside the user's code."""
    text = journal.note
    if not text and ending is None:
        text = " ".join(journal.said)
    elif not text and ending is not None and ending.exit_code in (NOT_FOUND, NOT_EXECUTABLE):
        text = " ".join(journal.said) or _wrapper_said(folders.read_output(run_id, 0, _HEAD_BYTES))
    return text[:MAX_MESSAGE_CHARS]


def _wrapper_said(output: bytes) -> str:
    """Such as a script whose interpreter is missing: only exec itself finds that out."""
    for line in output.decode(errors="replace").splitlines():
        if line.startswith(f"{WRAPPER_NAME}: "):
            return line
    return ""
