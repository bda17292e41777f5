"""What an experiment with a long past takes: memory, and time after a restart. One algorithm in a
fresh process: `python -m loadtests.suggest.memory NAME TRIALS`, the answer is a line of JSON."""

import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random

from loadtests.suggest.bars import MILLION, SUBJECTS, Subject
from loadtests.suggest.ours import Ours, random_points
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, ProposalRequest, Study
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.registry import Registry

SEED = 5
# As many documents as are taken in at a time; each portion is made anew and let go.
PORTION = 100
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """restart_s: of the processor, for a fresh instance to take in the whole past and draw a point.
    held_mb: what it keeps then, peak_mb: the most in between; without the libraries themselves."""

    name: str
    trials: int
    restart_s: float
    held_mb: float
    peak_mb: float


def footprint(subject: Subject, trials: int) -> Footprint:
    study = _study(subject)
    _restarted(study, _past(subject, 30))  # the libraries are loaded
    past = _past(subject, trials)
    gc.collect()
    started = time.process_time()
    _restarted(study, past)
    restart_s = time.process_time() - started
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    algorithm = _restarted(study, past)
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del algorithm
    return Footprint(
        name=subject.name,
        trials=trials,
        restart_s=restart_s,
        held_mb=(held - before) / MB,
        peak_mb=(peak - before) / MB,
    )


def in_a_process(name: str, trials: int) -> Footprint:
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.suggest.memory", name, str(trials)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return Footprint(**json.loads(done.stdout))


def grid_of_a_million(points: int = 100) -> tuple[float, float]:
    """Milliseconds from nothing to the first `points` points, and the most MB on the way."""
    subject = Subject(name="grid", bars_ms={}, space=MILLION)
    ours = Ours("grid", MILLION, SEED)
    ours.ask()
    gc.collect()
    tracemalloc.start()
    algorithm = Registry().create(_study(subject))
    request = ProposalRequest(number=1, first=0, count=points, watermark=0, seed=SEED)
    found = algorithm.propose(request, Random(SEED)).points
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if len(set(found)) != points:
        raise RuntimeError("the grid has repeated itself")
    started = time.process_time()
    Registry().create(_study(subject)).propose(request, Random(SEED))
    return (time.process_time() - started) * 1000, peak / MB


def _study(subject: Subject) -> Study:
    return Study(
        parameters=subject.space,
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name=subject.name),
        seed=SEED,
        names=tuple(parameter.name for parameter in subject.space),
    )


def _past(subject: Subject, trials: int) -> list[str]:
    """A line of JSON per trial, so that nothing of it is shared with the algorithm."""
    ours = Ours(subject.name, subject.space, SEED)
    if subject.grows_itself:
        for _ in range(trials):
            ours.tell(ours.ask())
    else:
        ours.note_down(random_points(subject.space, trials, SEED))
    return [
        json.dumps([trial.point, trial.value, mark.labels]) for trial, mark in ours.finished_trials
    ]


def _restarted(study: Study, past: list[str]) -> Algorithm:
    algorithm = Registry().create(study)
    for _, points, marks, _ in _portions(past):
        algorithm.restore(points, marks)
    for first, points, _, values in _portions(past):
        algorithm.tell(
            [
                FinishedTrial(
                    number=index + 1,
                    index=index,
                    point=point,
                    phase=TrialPhase.SUCCEEDED,
                    value=value,
                )
                for index, point, value in zip(
                    range(first, first + len(points)), points, values, strict=True
                )
            ]
        )
    count = len(past)
    request = ProposalRequest(number=count, first=count, count=1, watermark=count, seed=SEED)
    if len(algorithm.propose(request, Random(SEED)).points) != 1:
        raise RuntimeError(f"no point after {count} trials")
    return algorithm


def _portions(
    past: list[str],
) -> Iterator[tuple[int, list[tuple[str, ...]], list[Mark], list[float]]]:
    for first in range(0, len(past), PORTION):
        read = [json.loads(line) for line in past[first : first + PORTION]]
        marks = [Mark(labels=tuple((name, text) for name, text in it[2])) for it in read]
        yield first, [tuple(it[0]) for it in read], marks, [it[1] for it in read]


if __name__ == "__main__":
    [chosen] = [subject for subject in SUBJECTS if subject.name == sys.argv[1]]
    print(json.dumps(asdict(footprint(chosen, int(sys.argv[2])))))
