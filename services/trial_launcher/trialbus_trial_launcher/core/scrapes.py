"""From the samples of one scrape to points.

A metric is the sample of its name: the one without labels if there is one, else each in order. A
sample gives a point when it is new or has changed, so that points are the trial's steps and not the
scraper's.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from trialbus.kernel.errors import Transient


class Sample(NamedTuple):
    """labels: in order of their names. at: if the trial gave a time."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    at: float | None

    @property
    def key(self) -> str:
        """What it is one value of."""
        inside = ",".join(f'{label}="{text}"' for label, text in self.labels)
        return f"{self.name}{{{inside}}}"


class Unusable(Transient):
    """There was an answer, but no samples."""


class WhyNone:
    """Why the scrapes of a run gave nothing. What was wrong with an answer says more than that
    there was none: every endpoint is away at first, and in the end."""

    def __init__(self) -> None:
        self.text = ""
        self._has_answered = False

    def came(self, samples: Collection[Sample]) -> None:
        self.text = "" if samples else "its answer had no samples"
        self._has_answered = True

    def failed(self, error: Transient) -> None:
        if isinstance(error, Unusable):
            self._has_answered = True
        elif self._has_answered:
            return
        self.text = str(error)


def news(
    samples: Sequence[Sample],
    wanted: Collection[str],
    last: Mapping[str, tuple[float, float | None]],
) -> list[Sample]:
    """What is new of the wanted metrics. last: by key, the value and its own time when it was last
    seen."""
    found = []
    for name in wanted:
        own = [sample for sample in samples if sample.name == name]
        plain = [sample for sample in own if not sample.labels]
        found += [it for it in plain[:1] or own if not _same(last.get(it.key), it)]
    return found


def _same(before: tuple[float, float | None] | None, sample: Sample) -> bool:
    if before is None or before[1] != sample.at:
        return False
    return before[0] == sample.value or (math.isnan(before[0]) and math.isnan(sample.value))
