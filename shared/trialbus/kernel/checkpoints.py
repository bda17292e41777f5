"""Where a trial keeps what it, or a trial after it, can go on from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trialbus.kernel.spec import AlgorithmSpec

CHECKPOINT_VARIABLE = "TRIALBUS_CHECKPOINT"
PARENT_VARIABLE = "TRIALBUS_PARENT_CHECKPOINT"
ARTIFACTS_VARIABLE = "TRIALBUS_ARTIFACTS"
# Whether another trial may go on from this one's checkpoint: `no` or `perhaps`.
HEIRS_VARIABLE = "TRIALBUS_HEIRS"
# Katib's: the folder of the checkpoint as a trial's container sees it.
FOLDER_SETTING = "suggestion_trial_dir"
# As RFC 3986 has a scheme; `file:///x` is one too, as object stores are.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """own: folder or URI of the trial, the same for all its attempts. parent: that of the trial
    that it goes on from; "" when it begins anew. inside: what the template calls `own`; "" if it
    has no name of its own for it. artifacts: where it leaves what people want of it; "" where no
    trial is to run."""

    own: str
    parent: str = ""
    inside: str = ""
    artifacts: str = ""

    @property
    def is_uri(self) -> bool:
        """Then it is only told: nothing is made, copied or removed."""
        return is_uri(self.own)

    @property
    def inherited(self) -> str:
        """What the trial finds in its own before its first attempt; "": nothing."""
        return self.parent if self.inside and not self.is_uri else ""

    def variables(self) -> Mapping[str, str]:
        told = {CHECKPOINT_VARIABLE: self.own, PARENT_VARIABLE: self.parent}
        return {**told, ARTIFACTS_VARIABLE: self.artifacts} if self.artifacts else told

    def paths(self) -> Mapping[str, str]:
        """Path in the template -> what it stands for: the two themselves stand for themselves,
        whatever other paths are replaced."""
        texts = {text: text for text in (self.own, self.parent, self.artifacts) if text}
        return {**texts, self.inside: self.own} if self.inside else texts


def is_uri(root: str) -> bool:
    return _URI.match(root) is not None


def checkpoints_of(root: str, uid: str) -> str:
    """Of all trials of an experiment. root: a folder or the beginning of a URI; artifacts lie below
    a root of their own in the same way."""
    return f"{root.rstrip('/')}/{uid}"


def checkpoint_of(
    root: str, uid: str, index: int, parent: int | None, algorithm: AlgorithmSpec
) -> Checkpoint:
    """Of one trial. parent: index of the trial that it goes on from."""
    folder = checkpoints_of(root, uid)
    return Checkpoint(
        own=f"{folder}/{index}",
        parent="" if parent is None else f"{folder}/{parent}",
        inside=(algorithm.setting(FOLDER_SETTING) or "").rstrip("/"),
    )
