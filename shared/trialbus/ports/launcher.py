"""What the trial launcher needs from a place where runs execute.

A run is one attempt of one trial, named by its run id. Starting is idempotent: a run id starts at
most once for ever, whoever asks, however often, across crashes and reboots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from trialbus.kernel.run import RunVerdict

# In a run's folder: what its command finds and leaves there goes when it is tidied.
PRIVATE_FOLDER = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFolder:
    """path: there before the command starts, and left to whoever comes after it. copy_of: a folder
    whose content it begins with; whole or not at all, and only while there is no `path`. "": it
    begins empty."""

    path: str
    copy_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """command: argv, never a shell string. env: added to the launcher's base environment.
    deadline_s: seconds from its start after which it is stopped (reason DeadlineExceeded).
    files: name -> text, written beside the run before it starts; the folder is told to it in
    TRIALBUS_RUN_FOLDER. folders: below PRIVATE_FOLDER in there, made before it starts.
    search_path: folders that come first on PATH. image: of the container that it stands for, to
    say what is missing. artifacts: a folder of its trial, made before it starts; "": none."""

    run_id: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    deadline_s: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    image: str = ""
    checkpoint: CheckpointFolder | None = None
    artifacts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlan:
    """A run that is an object of a cluster. body: whole, under its own name, with the labels of
    the run. created_at: of the run, seconds since the epoch: a creation is given up for lost some
    time after it. success, failure: GJSON paths into the live object. container: the one whose
    exit code and output are the run's, in pods that have `pod_labels`. pods_by: the label by which
    pods that do not carry ours name the object. shipped: a wrapper claims the attempt and ships
    its metrics, so the object may be created again. claimed: one had claimed it when the plan was
    made. follows: its output is read as it comes. retain: the object stays."""

    run_id: str
    body: Mapping[str, Any]
    created_at: float
    success: str
    failure: str
    container: str = ""
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pods_by: str = ""
    shipped: bool = False
    claimed: bool = False
    follows: bool = False
    retain: bool = False


Plan = RunPlan | ObjectPlan


class RunState(StrEnum):
    ABSENT = "absent"  # never started here
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # it was started, no process of it lives, and it left no result


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """exit_code: 0..255; signal: number if a signal ended it (then exit_code is None).
    stop_reason: why *we* stopped it, "" if it ended by itself. output_bytes: so far, or in all.
    message: what went wrong before user code ran (command not found, bad working folder), or how
    it was ended. waiting: what a run that is not over waits for, "" if it runs. verdict,
    job_reason, job_message: what its template's conditions say, where a live object shows it.
    missing: why not all of its output could be read."""

    run_id: str
    state: RunState
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    stop_reason: str = ""
    message: str = ""
    output_bytes: int = 0
    waiting: str = ""
    verdict: RunVerdict | None = None
    job_reason: str = ""
    job_message: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateFile:
    """path: below the folder that was asked for."""

    path: str
    size_bytes: int


class Launcher(Protocol):
    async def start(self, plans: Sequence[Plan]) -> None:
        """Start each unless it has been started before. A command that cannot be started ends
        as FINISHED with exit code 127 or 126 and a message. Raises Transient if this place is
        not able to start anything now."""

    async def take_over(self, plans: Sequence[Plan]) -> None:
        """Another process began these: look where each would be. Starts none."""

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        """The state of each, from the world itself, not from memory. Adopts what runs."""

    async def stop(self, run_id: str, *, reason: str, grace_s: float) -> None:
        """SIGTERM to all its processes, SIGKILL after the grace. Returns at once; idempotent.
        `reason` is kept with the run and comes back as its stop_reason."""

    async def ended(self, *, timeout_s: float) -> Sequence[str]:
        """Run ids that ended since the last call (a hint: some may be missed after a crash);
        waits up to the timeout for the first."""

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        """Its output (stdout and stderr as they came); b"" at the end or if there is none."""

    async def tail(self, run_id: str, max_bytes: int) -> bytes:
        """The end of its output, as far as it is still there."""

    async def address(self, run_id: str) -> str:
        """Host that it answers at while it runs; "": not known."""

    async def private_files(self, run_id: str, folder: str) -> Sequence[PrivateFile]:
        """What its command left in a folder of its private one, subfolders included, in order of
        the paths; nothing if there is no such folder."""

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        """Of such a file, by its path in the private folder; b"" if it is no file."""

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        """Of a file beside the run: one of its plan, or one of those that `keep` makes."""

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        """Add `data` to such a file, all or nothing, if it ends at this byte; False: it does not,
        or there is no such run. So launchers keep notes for those after them."""

    async def forget(self, run_ids: Sequence[str]) -> None:
        """Remove what is kept of ended runs (logs and results); they never start again because
        their experiment is gone."""

    async def forget_checkpoints(self, folder: str) -> None:
        """Remove a folder of checkpoint or artifact folders, or one of them; nothing if there is
        none."""

    async def names_in(self, folder: str) -> Sequence[str]:
        """Of what lies in a folder; nothing if there is none."""

    async def drop_empty(self, folders: Sequence[str]) -> None:
        """Remove those of the folders that hold nothing."""

    async def tidy(self, run_ids: Sequence[str]) -> None:
        """Remove what ended runs hold that is needed no more, now that their ends are committed:
        private folders (their results and outputs stay), objects of a cluster."""

    async def close(self) -> None:
        """Leave; runs go on."""
