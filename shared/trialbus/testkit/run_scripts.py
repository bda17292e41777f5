"""What the runs of a simulation do, each drawn from the seed and its own id."""

import json
from collections.abc import Callable
from random import Random

from trialbus.ports.launcher import RunPlan
from trialbus.testkit.memory_launcher import LOST, Script

# What the run with this id does, under a seed.
Program = Callable[[int, str, RunPlan], Script]


def script_of(seed: int, run_id: str, plan: RunPlan) -> Script:
    """What a run does: mostly reports a few values of its loss and ends well."""
    rng = Random(f"{seed}/{run_id}")
    parameters = json.loads(plan.files["parameters.json"])
    loss = float(parameters["x"]) ** 2
    fate = rng.random()
    if fate < 0.03:
        return LOST
    steps = rng.randrange(1, 5)
    pace = rng.choice([0.001, 0.1, 0.5])
    lines = tuple(
        (pace * step, f"epoch {step} loss={loss + 3.0 / step}\n".encode())
        for step in range(1, steps + 1)
    )
    duration = pace * (steps + 0.5)
    if fate < 0.08:
        return Script(output=lines, duration_s=duration, exit_code=1)
    if fate < 0.11:
        return Script(output=((0.0, b"nothing to see\n"),), duration_s=duration)
    if fate < 0.13:
        return Script(output=((0.0, b"loss=nan\n"),), duration_s=duration)
    return Script(output=lines, duration_s=duration)
