"""What is promised: an algorithm is never worse than the library that it stands for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.quality.scores import Duel, Field, Scores, duel
from loadtests.quality.slices import (
    EVALUATIONS,
    PARALLEL,
    SEEDS,
    SEQUENTIAL,
    SLOW_EVALUATIONS,
    SLOW_SEEDS,
    SLOW_TASKS,
)

ONE_AT_A_TIME = Field(in_flight=SEQUENTIAL, evaluations=EVALUATIONS, seeds=SEEDS)
EIGHT_AT_A_TIME = Field(in_flight=PARALLEL, evaluations=EVALUATIONS, seeds=SEEDS)
SLOW = Field(in_flight=SEQUENTIAL, evaluations=SLOW_EVALUATIONS, seeds=SLOW_SEEDS)
# Of the difference: missed when even the lower end is above 0. One in a hundred comparisons of
# equals looks so by chance.
SHARE = 0.98
CLASSES = {
    "BBOB 5-D": ("BBOB 5-D",),
    "BBOB 10-D": ("BBOB 10-D",),
    "tables": ("HPOBench", "HPOLib", "NAS-Bench-201"),
    "scikit-learn": ("scikit-learn",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """is_bar: whether ours must not be worse; else it is only shown."""

    ours: str
    peer: str
    fields: tuple[Field, ...]
    is_bar: bool = True


BOTH = (ONE_AT_A_TIME, EIGHT_AT_A_TIME)
PAIRS = (
    Pair(ours="tpe", peer="optuna-tpe-univariate", fields=BOTH),
    Pair(ours="multivariate-tpe", peer="optuna-tpe", fields=BOTH),
    Pair(ours="cmaes", peer="optuna-cmaes", fields=BOTH),
    Pair(ours="bayesianoptimization", peer="scikit-optimize", fields=(SLOW,)),
    Pair(ours="bayesianoptimization", peer="optuna-gp", fields=(SLOW,), is_bar=False),
    Pair(ours="multivariate-tpe", peer="tpe", fields=BOTH, is_bar=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    pair: Pair
    field: Field
    tasks: str
    duel: Duel

    @property
    def is_missed(self) -> bool:
        return self.pair.is_bar and self.duel.difference.low > 0

    def text(self) -> str:
        gap = self.duel.difference
        return (
            f"{self.pair.ours} is worse than {self.pair.peer} on {self.tasks} with "
            f"{self.field.in_flight} in flight: by {gap.mean:.3f} of random's regret "
            f"({gap.low:.3f} to {gap.high:.3f})"
        )


def judge(scores: Scores) -> list[Judged]:
    """Every comparison whose runs are all there."""
    return [
        Judged(pair=pair, field=field, tasks=name, duel=found)
        for pair in PAIRS
        for field in pair.fields
        for name, found in _duels(scores, pair, field)
    ]


def _duels(scores: Scores, pair: Pair, field: Field) -> Iterator[tuple[str, Duel]]:
    names = (pair.ours, pair.peer)
    seen: list[str] = []
    for title, tasks in classes_of(scores, field).items():
        if tasks and len(scores.complete(tasks, field, names)) == len(names):
            seen.extend(tasks)
            yield title, _duel(scores, pair, field, tasks)
    if seen:
        yield "all of these", _duel(scores, pair, field, seen)


def _duel(scores: Scores, pair: Pair, field: Field, tasks: Sequence[str]) -> Duel:
    first, second = (scores.table(name, tasks, field) for name in (pair.ours, pair.peer))
    return duel(first, second, SHARE)


def classes_of(scores: Scores, field: Field) -> dict[str, list[str]]:
    """Names of the tasks by class, of those that the field has runs of."""
    return {
        title: [
            task.name
            for task in scores.tasks.values()
            if task.group in groups and (field != SLOW or task.name in SLOW_TASKS)
        ]
        for title, groups in CLASSES.items()
    }
