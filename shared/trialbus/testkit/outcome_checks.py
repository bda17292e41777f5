"""What must hold when a simulated world has come to rest, whatever happened on the way.

Every check raises AssertionError with the seed and the experiment that broke it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from trialbus.contracts.documents import ANSWER, CHUNK, RUN, TRIAL, Document, DocumentCodec
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.testkit.scenario import MOST_PARALLEL, Outcome
from trialbus.testkit.told_checks import check_told

T = TypeVar("T")

_COMPARED = (TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What one experiment left in the store."""

    where: str
    outputs: Mapping[str, bytes]
    state: Experiment
    trials: list[Trial]
    runs: list[Run]
    chunks: list[Chunk]
    answers: list[Answer]


def check_outcome(outcome: Outcome) -> None:
    """Everything, of every experiment."""
    stored = {
        name: outcome.world.store.documents(name)
        for name in ("trials", "runs", "chunks", "answers")
    }
    outputs = outcome.outputs
    for state in outcome.experiments:
        left = Left(
            outputs=outputs,
            where=f"seed {outcome.seed}, {state.name}",
            state=state,
            trials=_of(state, stored["trials"], TRIAL),
            runs=_of(state, stored["runs"], RUN),
            chunks=_of(state, stored["chunks"], CHUNK),
            answers=_of(state, stored["answers"], ANSWER),
        )
        check_budget(outcome, left)
        check_counts(left)
        check_spent(left)
        check_points(left)
        check_best(left)
        check_runs(left)
        check_metrics(left)
        check_unavailable(left)
    check_starts(outcome)
    check_events(outcome, stored["trials"])
    check_tidiness(outcome)
    check_told(outcome)


def _of(state: Experiment, documents: Iterable[Document], codec: DocumentCodec[T]) -> list[T]:
    return [codec.decode(it) for it in documents if it["uid"] == state.id]


def check_budget(outcome: Outcome, left: Left) -> None:
    """Law 5: exactly as many trials as were asked for, never more at once than were allowed."""
    state, trials = left.state, outcome.story.trials
    _expect(state.phase is ExperimentPhase.SUCCEEDED, left.where, state.phase, state.verdict)
    counted = (state.next_index, state.finished, state.counts.closed)
    _expect(counted == (trials, trials, trials), left.where, counted)
    _expect(not state.open and not state.closing, left.where, state.open, state.closing)
    operated = outcome.story.operated and state.name == outcome.story.names[0]
    allowed = max(MOST_PARALLEL, outcome.story.parallel) if operated else outcome.story.parallel
    most = outcome.most_alive(state.id)
    _expect(most <= allowed, left.where, f"{most} runs at once, {allowed} allowed")


def check_counts(left: Left) -> None:
    """Law 3: every trial ended once, and is counted as what it is."""
    numbers = sorted(trial.finished or 0 for trial in left.trials)
    expected = list(range(1, left.state.finished + 1))
    _expect(numbers == expected, left.where, "finish numbers", numbers)
    indices = sorted(trial.index for trial in left.trials)
    _expect(indices == list(range(left.state.next_index)), left.where, "indices", indices)
    phases = Counter(trial.phase for trial in left.trials)
    counts = left.state.counts
    counted = {
        TrialPhase.SUCCEEDED: counts.succeeded,
        TrialPhase.FAILED: counts.failed,
        TrialPhase.KILLED: counts.killed,
        TrialPhase.EARLY_STOPPED: counts.early_stopped,
        TrialPhase.METRICS_UNAVAILABLE: counts.metrics_unavailable,
    }
    _expect(dict(phases) == {k: n for k, n in counted.items() if n}, left.where, phases, counted)


def check_spent(left: Left) -> None:
    """Every attempt is paid for once: lost and suspended ones too."""
    ran_s = [(run.finished_at or 0.0) - run.started_at for run in left.runs if run.started_at]
    paid, ran = left.state.spent, sum(ran_s)
    _expect(math.isclose(paid, ran, abs_tol=1e-6), left.where, f"{paid} s paid for {ran} s")


def check_points(left: Left) -> None:
    """Law 7: a trial has the point that was answered for its index, and no point comes twice
    (except of pbt, whose members go on with what they have)."""
    points: dict[int, tuple[str, ...]] = {}
    for answer in sorted(left.answers, key=lambda it: it.number):
        for index, point in enumerate(answer.points, start=answer.first):
            _expect(index not in points, left.where, f"point {index} was answered twice")
            points[index] = point
    for trial in left.trials:
        used = tuple(it.value for it in trial.assignments)
        _expect(used == points.get(trial.index), left.where, trial.name, used)
    repeats = len(left.trials) - len({trial.assignments for trial in left.trials})
    may_repeat = left.state.spec.algorithm.name == "pbt"
    _expect(repeats == 0 or may_repeat, left.where, f"{repeats} points are repeated")


def check_best(left: Left) -> None:
    """The best trial is the best of those that count."""
    values = [
        trial.value
        for trial in left.trials
        if trial.phase in _COMPARED and trial.value is not None and not math.isnan(trial.value)
    ]
    best = left.state.best
    _expect(best is not None and best.value == min(values), left.where, best)


def check_runs(left: Left) -> None:
    """Law 4: attempts follow each other; a trial ended as its last attempt did."""
    attempts: dict[int, list[Run]] = {}
    for run in sorted(left.runs, key=lambda it: it.attempt):
        attempts.setdefault(run.index, []).append(run)
    for trial in left.trials:
        own = attempts.get(trial.index, [])
        numbers = [run.attempt for run in own]
        _expect(numbers == list(range(1, len(own) + 1)), left.where, trial.name, numbers)
        _expect(trial.attempt in numbers, left.where, trial.name, "ended without a run")
        last = own[trial.attempt - 1]
        _expect(last.ended, left.where, trial.name, last.phase)
        _expect(trial.exit_code == last.exit_code, left.where, trial.name, last)
        for earlier in own[: trial.attempt - 1]:
            stopped = earlier.phase is RunPhase.LOST or earlier.stop_reason == "Suspended"
            _expect(stopped, left.where, earlier.id, "was not the last, but had a result")


def check_metrics(left: Left) -> None:
    """Law 9: what a run printed is stored once, in order and whole; of a stopped run the start."""
    points: dict[str, list[str]] = {}
    ends: dict[str, int] = {}
    for chunk in sorted(left.chunks, key=lambda it: it.id):
        _expect(ends.get(chunk.run, 0) == chunk.from_byte, left.where, chunk.id, "is no next one")
        ends[chunk.run] = chunk.to_byte
        for series in chunk.series:
            steps = len(points.setdefault(chunk.run, []))
            _expect(series.first_step == steps + 1, left.where, chunk.id, series.first_step)
            points[chunk.run] += map(repr, series.values)
    for run in left.runs:
        printed = [repr(it) for it in _losses(left.outputs.get(run.id, b""))]
        stored = points.get(run.id, [])
        whole = run.exit_code is not None and run.started_at is not None
        wanted = printed if whole else printed[: len(stored)]
        _expect(stored == wanted, left.where, run.id, stored, printed)


def check_unavailable(left: Left) -> None:
    """Law 9: only what was never printed is not available."""
    for trial in left.trials:
        if trial.phase is TrialPhase.METRICS_UNAVAILABLE:
            printed = left.outputs[f"{trial.id}.{trial.attempt}"]
            _expect(not _losses(printed), left.where, trial.name, trial.message)


def _losses(output: bytes) -> list[float]:
    return [float(line.split(b"loss=")[1]) for line in output.splitlines() if b"loss=" in line]


def check_starts(outcome: Outcome) -> None:
    """No attempt is executed twice, by whomever."""
    twice = {run: count for run, count in outcome.starts.items() if count > 1}
    _expect(not twice, f"seed {outcome.seed}", "started more than once", twice)


def check_events(outcome: Outcome, trials: Iterable[Document]) -> None:
    """Nothing waits in an outbox, and what was in one has been handed to the bus."""
    where = f"seed {outcome.seed}"
    documents = [*trials, *outcome.world.store.documents("experiments")]
    waiting = [it["_id"] for it in documents if it["outbox"]]
    _expect(not waiting, where, "events wait in", waiting)
    seen = {message.id for message in outcome.world.published}
    expected = {f"{trial['_id']}@1.trial.created" for trial in trials}
    expected |= {f"{trial['_id']}@2.{_ENDS[trial['phase']]}" for trial in trials}
    _expect(expected <= seen, where, "never published", sorted(expected - seen))
    ended = {key.partition("@")[0] for key in seen if key.endswith(".experiment.succeeded")}
    _expect(ended == {it.id for it in outcome.experiments}, where, "ends published of", ended)


_ENDS = {
    "Succeeded": "trial.succeeded",
    "Failed": "trial.failed",
    "Killed": "trial.killed",
    "EarlyStopped": "trial.early_stopped",
    "MetricsUnavailable": "trial.metrics_unavailable",
}


def check_tidiness(outcome: Outcome) -> None:
    """Queries by indexes only, no message that nobody can handle."""
    world, where = outcome.world, f"seed {outcome.seed}"
    _expect(not world.store.full_scans, where, "without an index", world.store.full_scans[:3])
    _expect(not world.bus.dead_letters, where, "dead letters", world.bus.dead_letters[:3])
    _expect(world.faults >= outcome.story.faults, where, "faults", world.faults)


def _expect(holds: bool, where: str, *details: object) -> None:
    if not holds:
        raise AssertionError(f"{where}: {' '.join(map(str, details))}")
