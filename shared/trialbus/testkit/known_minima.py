"""Functions whose minima are known, and experiments over them."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np

from trialbus.kernel.proposals import PointTexts
from trialbus.kernel.space import Parameter
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject

Function = Callable[[list[float]], float]


def cube(dimensions: int) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name=f"x{i}", type="double", min="0", max="1") for i in range(dimensions)
    )


def sphere(x: list[float]) -> float:
    return sum((v - 0.3) ** 2 for v in x)


def ellipsoid(x: list[float]) -> float:
    powers = np.linspace(0, 6, len(x))
    return float(sum(10**p * (v - 0.3) ** 2 for p, v in zip(powers, x, strict=True)))


def rosenbrock(x: list[float]) -> float:
    z = [1 + 4 * (v - 0.3) for v in x]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(z))


def rastrigin(x: list[float]) -> float:
    z = [10 * (v - 0.3) for v in x]
    return 10 * len(z) + sum(v * v - 10 * math.cos(2 * math.pi * v) for v in z)


def run_of(
    subject: Subject,
    function: Function,
    space: tuple[Parameter, ...],
    *settings: tuple[str, str],
    seed: int = 11,
) -> Run:
    def objective(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
        return TrialPhase.SUCCEEDED, function([float(text) for text in point])

    return Run(subject, replace(subject.study(space, *settings), seed=seed), objective)


def one_at_a_time(run: Run, trials: int) -> float:
    """The best value."""
    for index in range(len(run.points), len(run.points) + trials):
        run.ask(1)
        run.finish(index)
    return best_of(run)


def many_at_a_time(run: Run, trials: int, workers: int, order: Random) -> float:
    run.ask(workers)
    running = list(run.unfinished)
    while len(run.points) < trials:
        # Exponential durations: some trials take very long.
        index = running.pop(order.randrange(len(running)))
        run.finish(index)
        run.ask(1)
        running.append(len(run.points) - 1)
    return best_of(run)


def best_of(run: Run) -> float:
    return min((it.value for it in run.finished if it.value is not None), default=math.inf)
