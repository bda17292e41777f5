"""Which runs there are, in slices that take less than an hour each on two cores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from loadtests.quality import bbob, tabular, tuning
from loadtests.quality.entrants import Entrant, is_registered, ours
from loadtests.quality.peers import peers
from loadtests.quality.results import Job
from loadtests.quality.tasks import Task

SEQUENTIAL, PARALLEL = 1, 8
SEEDS, EVALUATIONS = 10, 100
# Where a point costs a second and more.
SLOW_SEEDS, SLOW_EVALUATIONS = 5, 60
SLOW_TASKS = (
    "bbob-5d-f1-sphere",
    "bbob-5d-f8-rosenbrock",
    "bbob-5d-f15-rastrigin-rotated",
    "bbob-5d-f21-gallagher-101",
    "hpobench-vehicle",
    "hpolib-protein-structure",
)
OURS = ("random", "sobol", "tpe", "multivariate-tpe", "bayesianoptimization", "cmaes")


@cache
def all_tasks() -> tuple[Task, ...]:
    return (*bbob.tasks(), *tabular.tasks(), *tuning.tasks())


@cache
def all_entrants() -> tuple[Entrant, ...]:
    return (*(ours(name) for name in OURS if is_registered(name)), *peers())


def task_named(name: str) -> Task:
    """StopIteration: there is none."""
    return next(task for task in all_tasks() if task.name == name)


def entrant_named(name: str) -> Entrant:
    """StopIteration: there is none."""
    return next(entrant for entrant in all_entrants() if entrant.name == name)


def _everything(_task: Task) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    name: str
    entrants: tuple[str, ...]
    wants: Callable[[Task], bool] = _everything
    modes: tuple[int, ...] = (SEQUENTIAL, PARALLEL)
    seeds: int = SEEDS
    evaluations: int = EVALUATIONS

    def jobs(self) -> Iterator[Job]:
        """Tasks that train models last, then by seeds, so that a part of a slice says something."""
        tasks = [task for task in all_tasks() if self.wants(task)]
        quick = [task for task in tasks if task.has_known_best]
        trained = [task for task in tasks if not task.has_known_best]
        for chosen in (quick, trained):
            for seed in range(self.seeds):
                yield from self._of_seed(chosen, seed)

    def _of_seed(self, tasks: list[Task], seed: int) -> Iterator[Job]:
        for entrant in (it for it in all_entrants() if it.name in self.entrants):
            for task in (it for it in tasks if entrant.takes(it.parameters)):
                for in_flight in self.modes:
                    yield Job(
                        task=task.name,
                        entrant=entrant.name,
                        in_flight=in_flight,
                        seed=seed,
                        evaluations=self.evaluations,
                    )


def _slow(entrant: str) -> Slice:
    return Slice(
        name=entrant,
        entrants=(entrant,),
        wants=lambda task: task.name in SLOW_TASKS,
        modes=(SEQUENTIAL,),
        seeds=SLOW_SEEDS,
        evaluations=SLOW_EVALUATIONS,
    )


def _of_group(start: str) -> Callable[[Task], bool]:
    return lambda task: task.group.startswith(start)


def _is_no_bbob(task: Task) -> bool:
    return not task.group.startswith("BBOB")


SLICES = (
    Slice(name="sampling", entrants=("random", "sobol")),
    Slice(name="tpe", entrants=("tpe", "multivariate-tpe")),
    Slice(name="optuna-tpe", entrants=("optuna-tpe",)),
    Slice(name="optuna-tpe-univariate", entrants=("optuna-tpe-univariate",)),
    Slice(name="cmaes", entrants=("cmaes", "optuna-cmaes")),
    Slice(name="bayesian-5d", entrants=("bayesianoptimization",), wants=_of_group("BBOB 5-D")),
    Slice(name="bayesian-10d", entrants=("bayesianoptimization",), wants=_of_group("BBOB 10-D")),
    Slice(name="bayesian-tables", entrants=("bayesianoptimization",), wants=_is_no_bbob),
    _slow("optuna-gp"),
    _slow("scikit-optimize"),
)
