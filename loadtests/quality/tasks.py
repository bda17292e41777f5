"""What is searched: parameters as an experiment has them, and a loss for each point."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trialbus.kernel.space import Parameter

# Texts by parameter, as a trial gets them.
Assignments = Mapping[str, str]
Loss = Callable[[Assignments], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """group: tasks that are averaged together. loss_of: the loss (lower is better) that a run with
    this seed searches. has_known_best: the least possible loss is 0, else it is not known."""

    name: str
    group: str
    parameters: tuple[Parameter, ...]
    loss_of: Callable[[int], Loss]
    has_known_best: bool
