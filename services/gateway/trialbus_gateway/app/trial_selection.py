"""Which trials of an experiment are wanted, in which order: as queries that an index answers.

A sorted list is a row of sections, each in the order of one index: first the trials that have a
number to sort by, then NaN, then those without, in the order of opening.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trialbus.contracts.documents import Document
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query
from trialbus_gateway.core.waits import TrialState

# Values of the fields that a section is ordered by.
Key = tuple[Any, ...]

ENDED_STATES = tuple(phase.value for phase in TrialPhase if phase is not TrialPhase.CREATED)
OPEN_STATES = tuple(state.value for state in TrialState)
STATES = (*OPEN_STATES, *ENDED_STATES)


class TrialSort(StrEnum):
    """BEST: by the objective's direction. What has no number to sort by comes last, always."""

    OPENED = "index"
    NEWEST = "-index"
    BEST = "value"
    WORST = "-value"
    ENDED = "finished"
    LAST_ENDED = "-finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSelection:
    """All must hold. states: one of them; empty: any. Bounds are inclusive, None: no bound; a trial
    without a number has no value within bounds."""

    states: frozenset[str] = frozenset()
    value_from: float | None = None
    value_to: float | None = None
    index_from: int | None = None
    index_to: int | None = None
    sort: TrialSort = TrialSort.OPENED

    @property
    def phases(self) -> list[str] | None:
        """Of the documents that are wanted, beside those of open trials; None: all."""
        return [it for it in ENDED_STATES if it in self.states] if self.states else None

    @property
    def has_value_bounds(self) -> bool:
        return self.value_from is not None or self.value_to is not None

    @property
    def wants_open(self) -> bool:
        """Whether open trials are wanted by what their runs say."""
        return not self.has_value_bounds and not self.states.isdisjoint(OPEN_STATES)

    def takes_open(self, state: TrialState, index: int) -> bool:
        """Whether an open trial in this state is wanted."""
        low = 0 if self.index_from is None else self.index_from
        high = index if self.index_to is None else self.index_to
        return state.value in self.states and low <= index <= high


EVERYTHING = TrialSelection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """order: fields of an index behind the experiment's. holds_open: open trials are in it."""

    order: tuple[str, ...]
    descending: bool = False
    equals: Mapping[str, Any] = field(default_factory=dict)
    at_least: Mapping[str, Any] = field(default_factory=dict)
    holds_open: bool = False

    def place_of(self, trial: Document) -> Key:
        """Where it stands in the order."""
        return tuple(trial[name] for name in self.order)

    def follows(self, trial: Document, after: Key | None) -> bool:
        if after is None:
            return True
        place = self.place_of(trial)
        return place < after if self.descending else place > after


def sections_of(selection: TrialSelection, objective: ObjectiveType) -> Sequence[Section]:
    by_index = Section(order=("index",), holds_open=True)
    match selection.sort:
        case TrialSort.OPENED:
            return (by_index,)
        case TrialSort.NEWEST:
            return (Section(order=("index",), descending=True, holds_open=True),)
        case TrialSort.ENDED | TrialSort.LAST_ENDED:
            descending = selection.sort is TrialSort.LAST_ENDED
            ended = Section(order=("finished",), descending=descending, at_least={"finished": 0})
            return (ended, Section(order=("index",), equals={"finished": None}, holds_open=True))
        case TrialSort.BEST | TrialSort.WORST:
            highest_first = objective is ObjectiveType.MAXIMIZE
            if selection.sort is TrialSort.WORST:
                highest_first = not highest_first
            numbers = Section(
                order=("value", "index"), descending=highest_first, at_least={"value": -math.inf}
            )
            if selection.has_value_bounds:
                return (numbers,)
            return (
                numbers,
                Section(order=("index",), equals={"value": math.nan}),
                Section(order=("index",), equals={"value": None}, holds_open=True),
            )


def queries(
    section: Section, selection: TrialSelection, uid: str, after: Key | None
) -> Iterator[Query]:
    """One after the other they find what follows on `after` in the section, in its order; those
    before the last one find trials of one value."""
    if selection.phases == []:
        return
    sign = "-" if section.descending else ""
    for known in range(len(section.order) - 1, -1, -1) if after is not None else [0]:
        place = () if after is None else after
        fixed = dict(zip(section.order[:known], place[:known], strict=True))
        bound = {section.order[known]: place[known]} if place else {}
        rest = section.order[known:]
        yield Query(
            equals={"uid": uid, **section.equals, **fixed},
            among={} if selection.phases is None else {"phase": selection.phases},
            at_least=_lower(section, selection),
            at_most=_upper(selection),
            above={} if section.descending else bound,
            below=bound if section.descending else {},
            order=tuple(f"{sign}{name}" for name in rest),
        )


def _lower(section: Section, selection: TrialSelection) -> dict[str, Any]:
    wanted = {"value": selection.value_from, "index": selection.index_from}
    return {**section.at_least, **{name: it for name, it in wanted.items() if it is not None}}


def _upper(selection: TrialSelection) -> dict[str, Any]:
    wanted = {"value": selection.value_to, "index": selection.index_to}
    return {name: it for name, it in wanted.items() if it is not None}
