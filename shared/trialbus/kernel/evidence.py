"""What a stopping rule found about a run, as the stopping service records it for others.

An evidence document's key is the run's id. Once it holds a verdict, the verdict never changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingVerdict:
    """Why a run is to be stopped, and from what that follows.

    stop: True; a run that may go on has no verdict. step: 1-based ordinal of the report that was
    judged. best: the run's best objective by that step, in the user's own direction. median: what
    it was compared with, if that is one. completed: trials that counted. watermark: finish number
    up to which trials were known. to_byte: how much of the run's output was known. numbers: what
    else the rule decided with, by name.
    """

    rule: str
    stop: bool
    step: int
    reason: str
    best: float
    median: float | None
    completed: int
    watermark: int
    to_byte: int
    decided_at: float
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFailure:
    """A stopping rule has failed in this experiment: from then on its trials go on unstopped.

    id: see `rule_failure_id`. reason: what it said.
    """

    id: str
    uid: str
    version: int
    rule: str
    reason: str
    failed_at: float


def rule_failure_id(uid: str) -> str:
    """The key of the experiment's document, among those of its runs."""
    return f"{uid}.rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """The part of an evidence document that others read. id: the run's id."""

    id: str
    verdict: StoppingVerdict | None = None
