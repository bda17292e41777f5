"""Numbered requests for points, and their stored answers."""

from dataclasses import dataclass
from enum import StrEnum


class LookAhead(StrEnum):
    """How far ahead of need an algorithm's points may be drawn.

    FREE: it does not look at results. PENDING: it does, and treats points ahead as running.
    NONE: the next point depends on the last result.
    """

    FREE = "free"
    PENDING = "pending"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsRequest:
    """Asks for `count` points, for the trials `first`, `first` + 1, ... number: 1-based.

    watermark: only results with finish numbers up to here may be seen (law 7).
    got: how many points the answer held; None while it is not there.
    """

    number: int
    first: int
    count: int
    watermark: int
    asked_at: float
    got: int | None = None


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an algorithm knows one of its points by, beside the values: stored with the point, and
    given back to it with the point.

    parent: index of the trial whose checkpoint this trial goes on from; None: it begins anew.
    labels: the trial's, for instance its rung or generation; people see them too.
    """

    parent: int | None = None
    labels: Labels = ()

    def label(self, name: str) -> str | None:
        return dict(self.labels).get(name)


UNMARKED = Mark()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was drawn for one request; written once, never changed.

    points: values as text, in the order of the experiment's parameters. Fewer than asked when the
    space is spent (exhausted), else because the algorithm waits for results. refused: why no
    points can ever be drawn. names, marks, settings: see `Proposal`.
    """

    id: str
    uid: str
    version: int
    number: int
    first: int
    watermark: int
    seed: int
    points: tuple[tuple[str, ...], ...]
    exhausted: bool
    look_ahead: LookAhead
    refused: str | None
    answered_at: float
    took_s: float
    names: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    settings: tuple[tuple[str, str], ...] | None = None

    def mark(self, index: int) -> Mark:
        """Of the point for trial `index`."""
        return self.marks[index - self.first] if self.marks else UNMARKED
