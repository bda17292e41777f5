"""What an experiment begins with: finished trials of others, copied when it was created."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmTrial:
    """point: values as text, in the order of the parameters of who begins with it. value: a finite
    or infinite number, never NaN."""

    point: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmTrials:
    """All of one experiment, whose uid is the id. Never changes: answers follow from it."""

    id: str
    version: int
    trials: tuple[WarmTrial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmSource:
    """An experiment that trials were taken from. watermark: its newest finish number then. taken:
    trials that are begun with; left_out: others that were looked at, outside the new space."""

    uid: str
    name: str
    watermark: int
    taken: int
    left_out: int
