"""Series of experiments and trials over time, for those who read them as Prometheus' data."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.failures import TooMuch
from trialbus_gateway.app.metrics import Metrics
from trialbus_gateway.app.series_of_experiment import (
    MAX_SERIES,
    Asked,
    ExperimentSeries,
    Sources,
)
from trialbus_gateway.app.series_selection import (
    NamesBudget,
    SeriesExperiments,
    Span,
    Warnings,
    fits_trial,
    named_trials,
)
from trialbus_gateway.app.trial_histories import TrialHistories
from trialbus_gateway.core.selectors import NAME_LABEL, Selector
from trialbus_gateway.core.series_kinds import KINDS, Needs, SeriesKind
from trialbus_gateway.core.timelines import Timeline

# Of a list of names.
MAX_VALUES = 5_000
# Each may hold some tens of megabytes; the others wait.
_ANSWERS_AT_ONCE = 4
# Are looked at between two other calls.
_SERIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of the closed set, with its name among its labels."""

    kind: SeriesKind
    timeline: Timeline

    @property
    def labels(self) -> dict[str, str]:
        return {NAME_LABEL: self.kind.name, **self.timeline.labels}


@dataclass(slots=True)
class SeriesFound:
    series: list[Series] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)


class SeriesReading:
    def __init__(self, parts: Parts) -> None:
        self.clock = parts.clock
        self._experiments = SeriesExperiments(parts.store)
        self._sources = Sources(
            store=parts.store,
            histories=TrialHistories(parts.store),
            metrics=Metrics(parts),
        )
        self._turn = asyncio.Semaphore(_ANSWERS_AT_ONCE)

    async def of(self, selector: Selector, span: Span) -> SeriesFound:
        """Raises TooMuch."""
        found, kinds = SeriesFound(), kinds_of(selector)
        if not kinds:
            names = ", ".join(kind.name for kind in KINDS)
            found.warnings.add(f"nothing can fit: there are only {names}, each with its labels")
            return found
        async with self._turn:
            states = await self._experiments.of(selector, span)
            asked = Asked(selector=selector, span=span, warnings=found.warnings)
            await self._read(states, kinds, asked, found.series)
        return found

    async def names(self, label: str, selector: Selector, span: Span) -> tuple[set[str], Warnings]:
        """Values of a label of the series that fit; of too many, some. Raises TooMuch."""
        warnings, kinds = Warnings(), [it for it in kinds_of(selector) if label in it.labels]
        if not kinds:
            return set(), warnings
        async with self._turn:
            states = await self._experiments.newest(selector, span, warnings)
            if label == "trial":
                fitting = _trial_names(states, selector, NamesBudget())
                return await asyncio.to_thread(_few, fitting, warnings), warnings
            if label == "parameter":
                names = (it for state in states for it in state.spec.assignment_names)
                return _few((it for it in names if selector.fits(label, it)), warnings), warnings
            cheap = [kind for kind in kinds if kind.needs is Needs.NOTHING] or kinds
            found: list[Series] = []
            asked = Asked(selector=selector, span=span, warnings=warnings)
            await self._read(states, cheap, asked, found)
        values = (it.timeline.labels.get(label, "") for it in found)
        return _few((it for it in values if it), warnings), warnings

    async def _read(
        self,
        states: Iterable[Experiment],
        kinds: Sequence[SeriesKind],
        asked: Asked,
        found: list[Series],
    ) -> None:
        """Raises TooMuch."""
        for state in states:
            series = ExperimentSeries(self._sources, state, asked)
            await series.learn(kinds)
            for kind in kinds:
                for place, timeline in enumerate(await series.timelines(kind), start=1):
                    if _fits(asked.selector, timeline):
                        found.append(Series(kind=kind, timeline=timeline))
                    if place % _SERIES_AT_ONCE == 0:
                        await asyncio.sleep(0)
                if len(found) > MAX_SERIES:
                    raise TooMuch(
                        f"more than {MAX_SERIES} series are meant: add matchers, such as "
                        'experiment="...", trial="..." or parameter="..."'
                    )


def kinds_of(selector: Selector) -> list[SeriesKind]:
    """Those of the closed set that can fit: by name, and by the labels that they lack."""
    return [
        kind
        for kind in KINDS
        if selector.fits(NAME_LABEL, kind.name)
        and all(
            it.fits("")
            for it in selector.matchers
            if it.label not in kind.labels and it.label != NAME_LABEL
        )
    ]


def _fits(selector: Selector, timeline: Timeline) -> bool:
    return all(
        it.fits(timeline.labels.get(it.label, ""))
        for it in selector.matchers
        if it.label != NAME_LABEL
    )


def _trial_names(
    states: Iterable[Experiment], selector: Selector, budget: NamesBudget
) -> Iterable[str]:
    """Of all trials that have been opened, the newest of an experiment first. Raises TooMuch."""
    for state in states:
        named = named_trials(selector, state)
        for index in reversed(range(state.next_index) if named is None else named):
            if fits_trial(selector, state, index, budget):
                yield trial_name(state.name, state.id, index)


def _few(values: Iterable[str], warnings: Warnings) -> set[str]:
    found: set[str] = set()
    for value in values:
        if len(found) == MAX_VALUES and value not in found:
            warnings.add(f"only {MAX_VALUES} values are listed")
            break
        found.add(value)
    return found
