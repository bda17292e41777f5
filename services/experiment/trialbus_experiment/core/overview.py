"""What there is of experiments and trials, added up: of those that live from their documents, of
the others from sums that are kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trialbus.kernel.conditions import Condition, Conditions
from trialbus.kernel.experiment import (
    SCHEDULING_PHASES,
    Counts,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.ids import run_id
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import PointsRequest
from trialbus.kernel.trial import TrialPhase
from trialbus_experiment.core.closing import COUNTED_AS
from trialbus_experiment.core.stalls import STALLS

# Katib's word for what has no condition yet.
_UNKNOWN = "Unknown"
# What Katib calls the newest condition of a trial that runs, or does not.
_OPEN_STATUS = {True: "Running", False: "Created"}
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingSpec:
    trials_by: TrialsBy


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingKind:
    """What of a living experiment's document never changes."""

    id: str
    spec: LivingSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """The part of a living experiment's document that is added up, with who takes its trials."""

    id: str
    namespace: str
    phase: ExperimentPhase
    trials_by: TrialsBy
    counts: Counts
    open: Mapping[str, OpenTrial]
    conditions: Conditions
    requests: tuple[PointsRequest, ...]
    drawn: int
    next_index: int

    @property
    def runs(self) -> Iterator[tuple[str, OpenTrial]]:
        """Of the open trials with an attempt, by run id."""
        for key, trial in self.open.items():
            if trial.state is OpenState.ACTIVE:
                yield run_id(self.id, int(key), trial.attempt), trial


class EndedSums:
    """Experiments that are over, each counted once whatever is told how often."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ExperimentPhase, str, Counts]] = {}
        self.experiments: Counter[tuple[ExperimentPhase, str]] = Counter()
        self.trials: Counter[tuple[TrialPhase, str]] = Counter()

    def put(self, uid: str, phase: ExperimentPhase, namespace: str, counts: Counts) -> None:
        self.drop(uid)
        self._known[uid] = (phase, namespace, counts)
        self._add(uid, 1)

    def drop(self, uid: str) -> None:
        if uid in self._known:
            self._add(uid, -1)
            del self._known[uid]

    def _add(self, uid: str, sign: int) -> None:
        """Trials of an archive are those of a deleted experiment."""
        phase, namespace, counts = self._known[uid]
        self.experiments[phase, namespace] += sign
        if phase is not ExperimentPhase.ARCHIVED:
            for ended, count in _ended(counts):
                self.trials[ended, namespace] += sign * count


class Overview:
    """living: as they are now. ended: the others. runs: of open trials, by run id: whether it is
    told to be running. Katib's numbers are by namespace and status."""

    def __init__(
        self, living: Iterable[Living], ended: EndedSums, runs: Mapping[str, bool], now: float
    ) -> None:
        self.experiments: Counter[str] = Counter()
        self.trials: Counter[str] = Counter()
        self.katib_experiments: Counter[Key] = Counter()
        self.katib_trials: Counter[Key] = Counter()
        self.stalled: Counter[str] = Counter()
        self.oldest_stall_s = 0.0
        self.waits_s: dict[str, float] = {}
        self.points_ahead = 0
        self._now = now
        for state in living:
            self._add(state, runs)
        for (phase, namespace), count in ended.experiments.items():
            self.experiments[phase.value] += count
            if phase is not ExperimentPhase.ARCHIVED:
                self.katib_experiments[namespace, phase.value] += count
        for (trial_phase, namespace), count in ended.trials.items():
            self.trials[trial_phase.value] += count
            self.katib_trials[namespace, trial_phase.value] += count

    def _add(self, state: Living, runs: Mapping[str, bool]) -> None:
        self.experiments[state.phase.value] += 1
        running = sum(runs.get(run, False) for run, _ in state.runs)
        pending = len(state.open) - running
        self.trials["Running"] += running
        self.trials["Pending"] += pending
        for phase, count in _ended(state.counts):
            self.trials[phase.value] += count
        if state.phase is not ExperimentPhase.DELETING:
            self._add_as_katib(state, running, pending)
        if state.phase in SCHEDULING_PHASES:
            self.points_ahead += state.drawn - state.next_index
            self._add_waits(state, runs)

    def _add_as_katib(self, state: Living, running: int, pending: int) -> None:
        """By the newest condition; a deleted name is free at once."""
        status = state.conditions[-1].type if state.conditions else _UNKNOWN
        self.katib_experiments[state.namespace, status] += 1
        for runs, count in ((True, running), (False, pending)):
            self.katib_trials[state.namespace, _OPEN_STATUS[runs]] += count
        for phase, count in _ended(state.counts):
            self.katib_trials[state.namespace, phase.value] += count

    def _add_waits(self, state: Living, runs: Mapping[str, bool]) -> None:
        if (stall := _stall(state)) is not None:
            self.stalled[stall.reason] += 1
            self.oldest_stall_s = max(self.oldest_stall_s, self._now - stall.updated_at)
        for request in state.requests:
            if request.got is None:
                self._wait("points", request.asked_at)
        taker = "worker" if state.trials_by is TrialsBy.WORKERS else "launch"
        for run, trial in state.runs:
            if run not in runs and not trial.stop:
                self._wait(taker, trial.opened_at)

    def _wait(self, what: str, since: float) -> None:
        self.waits_s[what] = max(self.waits_s.get(what, 0.0), self._now - since)


def _stall(state: Living) -> Condition | None:
    return next((it for it in state.conditions if it.status and it.reason in STALLS), None)


def _ended(counts: Counts) -> Iterator[tuple[TrialPhase, int]]:
    for phase, name in COUNTED_AS.items():
        if count := getattr(counts, name):
            yield phase, count
