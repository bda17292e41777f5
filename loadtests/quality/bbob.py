"""Black-box optimisation benchmark functions (Hansen, Finck, Ros, Auger 2009), noiseless.

A run with seed s searches instance s + 1: the same function, shifted and rotated anew.
"""

from functools import partial

from loadtests.quality.tasks import Assignments, Loss, Task
from trialbus.kernel.space import Parameter

# Of each of the suite's five classes: separable, moderate, ill-conditioned, with many optima and a
# global structure, with many optima and without one.
FUNCTIONS = {
    1: "sphere",
    2: "ellipsoid",
    3: "rastrigin",
    6: "attractive-sector",
    8: "rosenbrock",
    10: "ellipsoid-rotated",
    13: "sharp-ridge",
    14: "different-powers",
    15: "rastrigin-rotated",
    17: "schaffer",
    20: "schwefel",
    21: "gallagher-101",
}
DIMENSIONS = (5, 10)


def tasks() -> list[Task]:
    return [
        _task(number, name, dimension)
        for dimension in DIMENSIONS
        for number, name in FUNCTIONS.items()
    ]


def _task(number: int, name: str, dimension: int) -> Task:
    return Task(
        name=f"bbob-{dimension}d-f{number}-{name}",
        group=f"BBOB {dimension}-D",
        parameters=tuple(
            Parameter(name=f"x{i}", type="double", min="-5", max="5") for i in range(dimension)
        ),
        loss_of=partial(_loss, number, dimension),
        has_known_best=True,
    )


def _loss(number: int, dimension: int, seed: int) -> Loss:
    import ioh  # noqa: PLC0415 (only .venv/bench has it)

    problem = ioh.get_problem(
        number, instance=seed + 1, dimension=dimension, problem_class=ioh.ProblemClass.BBOB
    )
    least = float(problem.optimum.y)

    def loss(assignments: Assignments) -> float:
        place = [float(assignments[f"x{i}"]) for i in range(dimension)]
        return max(float(problem(place)) - least, 0.0)

    return loss
