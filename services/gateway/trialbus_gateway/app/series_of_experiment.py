"""The series of one experiment and its trials, read as far as a selector asks for them.

What takes longer the more trials there are is done in a thread: others are answered meanwhile.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL, Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id
from trialbus.kernel.trial import Assignment, Trial
from trialbus.ports.store import Store
from trialbus_gateway.app.metrics import JoinedSeries, Metrics, MetricsWanted
from trialbus_gateway.app.readable import readable
from trialbus_gateway.app.series_selection import (
    NamesBudget,
    Span,
    Warnings,
    fits_trial,
    named_trials,
)
from trialbus_gateway.app.trial_histories import ReadBudget, TrialHistories
from trialbus_gateway.core.experiment_series import (
    Recorded,
    ended_trial_timeline,
    experiment_timelines,
    labels_of_trial,
    parameter_timelines,
)
from trialbus_gateway.core.selectors import Selector
from trialbus_gateway.core.series_kinds import Needs, SeriesKind
from trialbus_gateway.core.timelines import Timeline
from trialbus_gateway.core.trial_histories import ENDED_PHASES, TrialHistory, thinned

MAX_SERIES = 5_000
MAX_TRIALS = 2_000
# Whose curves are read for one answer: a chain of chunks each.
MAX_CURVES = 20
# Of one curve; a longer one is thinned out, its extremes stay.
MAX_CURVE_POINTS = 10_000
# Whose parameters are read at a time: some milliseconds of work between two other calls.
_TRIALS_AT_ONCE = 250
_OPEN_FIELDS = ("index", "created_at", "finished")
_ASSIGNED_FIELDS = ("index", "created_at", "assignments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    store: Store
    histories: TrialHistories
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one answer is about. budget, names: shared by all of its experiments."""

    selector: Selector
    span: Span
    warnings: Warnings
    budget: ReadBudget = field(default_factory=ReadBudget)
    names: NamesBudget = field(default_factory=NamesBudget)


class ExperimentSeries:
    def __init__(self, sources: Sources, state: Experiment, asked: Asked) -> None:
        self._sources = sources
        self._state = state
        self._asked = asked
        self._history = TrialHistory(objective=state.spec.objective)
        self._open_since: dict[int, float] = {}
        self._joined: list[tuple[Trial, JoinedSeries]] | None = None

    async def learn(self, kinds: Iterable[SeriesKind]) -> None:
        """Read what all of these need once."""
        if all(kind.needs is Needs.NOTHING for kind in kinds):
            return
        state, budget = self._state, self._asked.budget
        self._history = await self._sources.histories.of(state, budget)
        if self._history.finished < state.finished and budget.left <= 0:
            self._asked.warnings.add(
                f"{self._name}: the first {self._history.finished} of {state.finished} ended "
                "trials are read so far; the next question reads on"
            )
        # After the history: what has ended since is in neither, never in both.
        found = await self._documents(map(int, state.open), _OPEN_FIELDS)
        self._open_since = {
            int(it["index"]): float(it["created_at"]) for it in found if it["finished"] is None
        }

    async def timelines(self, kind: SeriesKind) -> Sequence[Timeline]:
        """May hold some that the selector does not mean. Raises TooMuch."""
        if not kind.is_of_trials:
            if kind.needs is Needs.NOTHING:
                return self._of_all(kind)
            return await asyncio.to_thread(self._of_all, kind)
        match kind.needs:
            case Needs.PARAMETERS:
                return await self._parameters()
            case Needs.POINTS:
                return await self._curves(kind)
            case _:
                return await asyncio.to_thread(self._ended, kind)

    def _of_all(self, kind: SeriesKind) -> list[Timeline]:
        recorded = Recorded(
            state=self._state,
            history=self._history,
            open_since=tuple(self._open_since.values()),
        )
        return list(experiment_timelines(kind.name, recorded))

    def _ended(self, kind: SeriesKind) -> list[Timeline]:
        fits = self._asked.selector.fits
        phases = [phase for phase in ENDED_PHASES if fits("phase", phase.value)]
        places = self._chosen(self._history.places(phases, self._asked.span.end), MAX_TRIALS)
        trials = map(self._history.trial, places)
        made = (ended_trial_timeline(kind.name, self._state, trial) for trial in trials)
        return [timeline for timeline in made if timeline is not None]

    async def _parameters(self) -> list[Timeline]:
        asked, state = self._asked, self._state
        names = [it for it in state.spec.assignment_names if asked.selector.fits("parameter", it)]
        if not names:
            return []
        chosen = await asyncio.to_thread(self._with_parameters, len(names))
        made: list[Timeline] = []
        for begin in range(0, len(chosen), _TRIALS_AT_ONCE):
            page = chosen[begin : begin + _TRIALS_AT_ONCE]
            found = await self._documents(page, _ASSIGNED_FIELDS)
            made += await asyncio.to_thread(_assigned, state, found, frozenset(names))
        return made

    def _with_parameters(self, count: int) -> list[int]:
        """Whose `count` parameters are told."""
        most = min(MAX_TRIALS, max(1, MAX_SERIES // count) - len(self._open_since))
        places = self._chosen(self._history.places(until=self._asked.span.end), max(1, most))
        ended = (self._history.index(place) for place in places)
        open_ = (it for it in self._open_since if self._fits(it))
        return [*ended, *open_]

    async def _curves(self, kind: SeriesKind) -> list[Timeline]:
        if self._joined is None:
            self._joined = await self._read_curves()
        is_step = kind.name == "trial_metric_step"
        return await asyncio.to_thread(_drawn, self._state, self._joined, is_step=is_step)

    async def _read_curves(self) -> list[tuple[Trial, JoinedSeries]]:
        metrics = self._asked.selector.named("metric")
        if metrics is not None and not metrics:
            return []
        found = await self._documents(await asyncio.to_thread(self._newest), None)
        trials = {it.name: it for it in readable(TRIAL, found)}
        wanted = MetricsWanted(metrics=metrics or frozenset(), points=MAX_CURVE_POINTS)
        curves = await self._sources.metrics.of_many([*trials.values()], self._state, wanted)
        if any(it.truncated for it in curves):
            self._asked.warnings.add(f"{self._name}: not all points of its trials are told")
        return [(trials[it.trial], series) for it in curves for series in it.metrics]

    def _newest(self) -> list[int]:
        """Of the trials that are meant and lived in the span; there may be too many curves."""
        selector, span = self._asked.selector, self._asked.span
        named = named_trials(selector, self._state)
        lived = [
            *(index for index, since in self._open_since.items() if since <= span.end),
            *self._history.living(span.start, span.end),
        ]
        known = None if named is None else frozenset(named)
        wanted = sorted((it for it in lived if known is None or it in known), reverse=True)
        fitting = (it for it in wanted if self._fits(it))
        chosen = [index for index, _ in zip(fitting, range(MAX_CURVES + 1), strict=False)]
        if len(chosen) > MAX_CURVES:
            self._asked.warnings.add(
                f"{self._name}: only the curves of the {MAX_CURVES} newest trials are told; name "
                'others with the matcher trial="..."'
            )
        return chosen[:MAX_CURVES]

    def _chosen(self, places: Sequence[int], most: int) -> Sequence[int]:
        """The trials that are meant; where they are too many, a part of them and the best."""
        selector, state, history = self._asked.selector, self._state, self._history
        named = named_trials(selector, state)
        if named is not None:
            known = frozenset(history.places_of(named))
            places = [place for place in places if place in known]
        elif selector.of("trial"):
            places = [it for it in places if self._fits(history.index(it))]
        chosen, every = thinned(places, most)
        if every == 1:
            return chosen
        best = history.best_place()
        if best is not None and best not in chosen and best in places:
            chosen = sorted([*chosen, best])
        self._asked.warnings.add(
            f"{self._name}: {len(chosen)} of {len(places)} trials are told, each whose finish "
            f"number {every} divides, and the best; others with trial or phase as matchers"
        )
        return chosen

    def _fits(self, index: int) -> bool:
        """Whether a trial's name does. Raises TooMuch."""
        return fits_trial(self._asked.selector, self._state, index, self._asked.names)

    async def _documents(
        self, indices: Iterable[int], fields: Sequence[str] | None
    ) -> list[Document]:
        keys = [trial_id(self._state.id, index) for index in indices]
        if not keys:
            return []
        found = await self._sources.store.get_many(TRIALS.name, keys, fields=fields)
        return [found[key] for key in keys if key in found]

    @property
    def _name(self) -> str:
        return f"{self._state.namespace}/{self._state.name}"


def _assigned(
    state: Experiment, documents: Iterable[Document], names: Collection[str]
) -> list[Timeline]:
    """names: of the parameters that are meant."""
    made: list[Timeline] = []
    for document in documents:
        given = [Assignment(**it) for it in document["assignments"] if it["name"] in names]
        index, opened_at = int(document["index"]), float(document["created_at"])
        made += parameter_timelines(state, index, opened_at, given)
    return made


def _drawn(
    state: Experiment, joined: Iterable[tuple[Trial, JoinedSeries]], *, is_step: bool
) -> list[Timeline]:
    made = (_curve(state, *each, is_step=is_step) for each in joined)
    return [timeline for timeline in made if timeline is not None]


def _curve(
    state: Experiment, trial: Trial, series: JoinedSeries, *, is_step: bool
) -> Timeline | None:
    """By time: what is pushed tells its own, which may be in another order. None: only texts."""
    points = sorted(
        (at, step, value)
        for at, step, value in zip(series.times, series.steps, series.values, strict=True)
        if not isinstance(value, str)
    )
    if not points:
        return None
    until = None
    if trial.ended:
        until = max(points[-1][0], trial.completed_at or 0.0)
    return Timeline(
        labels={**labels_of_trial(state, trial.index), "metric": series.name},
        times=[at for at, _, _ in points],
        values=[float(step if is_step else value) for _, step, value in points],
        until=until,
    )
