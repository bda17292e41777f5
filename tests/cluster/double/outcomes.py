"""What a test says about a pod: how it goes, or what keeps it from going."""

from dataclasses import dataclass
from typing import Literal

Stuck = Literal[
    "",
    "Unschedulable",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the first container ends; its companions end well with it.

    after_s: seconds from its start, None: when `pods.finish` says so. message: what it leaves in
    the termination log. reason: "" means Completed or Error; OOMKilled goes with exit code 137.
    stuck: it never starts, for this reason. stubborn: only SIGKILL ends it.
    """

    exit_code: int = 0
    log: bytes = b""
    after_s: float | None = 0.0
    message: str = ""
    reason: str = ""
    stuck: Stuck = ""
    stuck_message: str = ""
    stubborn: bool = False


OOM = Outcome(exit_code=137, reason="OOMKilled")
RUNS_ON = Outcome(after_s=None)
