"""How ENAS' controller learns: REINFORCE (Williams 1992) on the architectures that were trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialbus_suggestion.core.enas_architectures import Batch
from trialbus_suggestion.core.enas_controller import (
    INITIAL_RANGE,
    Array,
    Form,
    Goal,
    gradient,
    unroll,
)
from trialbus_suggestion.core.seeds import keyed_bits

# Architectures in one gradient step: more cost more and teach little more.
STEP_ARCHITECTURES = 16
# So many results are learned from one by one, as many more by twos, then by fours, and so on: after
# a restart all is learned again, and that has to end within the deadline of an answer.
SINGLE_RESULTS = 50
# Of Adam (Kingma and Ba 2015), which Katib's controller uses too.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is known after some results, in the order of their trials.

    rewards: (count,), standardised, higher is better. log_p: (count,), the log probability with
    which each was drawn; NaN: not known.
    """

    batch: Batch
    rewards: NDArray[np.float64]
    log_p: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """As the algorithm's settings of these names, without `controller_`."""

    learning_rate: float
    train_steps: int
    baseline_decay: float
    entropy_weight: float
    skip_weight: float
    skip_target: float


@dataclass(slots=True)
class Learner:
    """A controller and what its optimiser remembers. `flat`: its weights."""

    flat: Array
    mean: Array = field(init=False)
    square: Array = field(init=False)
    steps: int = 0

    def __post_init__(self) -> None:
        self.mean, self.square = np.zeros_like(self.flat), np.zeros_like(self.flat)

    @property
    def size_bytes(self) -> int:
        return int(self.flat.nbytes + self.mean.nbytes + self.square.nbytes)

    def copy(self) -> "Learner":
        other = Learner(self.flat.copy())
        other.mean, other.square, other.steps = self.mean.copy(), self.square.copy(), self.steps
        return other

    def step(self, slope: Array, rate: float) -> None:
        """One of Adam's, in place."""
        self.steps += 1
        self.mean += (1 - BETA_1) * (slope - self.mean)
        self.square += (1 - BETA_2) * (slope * slope - self.square)
        unbiased = (1 - BETA_2**self.steps) ** 0.5
        rate *= unbiased / (1 - BETA_1**self.steps)
        self.flat -= rate * self.mean / (np.sqrt(self.square) + EPSILON * unbiased)


def new_learner(form: Form, seed: int) -> Learner:
    """All weights uniform in +-0.01: a function of the seed alone."""
    bits = keyed_bits(BITS * form.size, "controller", seed)
    raw = np.frombuffer(bits.to_bytes(BITS // 8 * form.size, "big"), dtype=">u4")
    unit = (raw.astype(np.float64) + 0.5) / 2.0**BITS
    return Learner(((2 * unit - 1) * INITIAL_RANGE).astype(np.float32))


def is_time_to_learn(count: int) -> bool:
    """Whether there is a lesson after the `count`-th result: after each of the first fifty, then
    after every second, from 100 on after every fourth, and so on."""
    stretch = 1
    while count > SINGLE_RESULTS * stretch:
        stretch *= 2
    return count % stretch == 0


def learn(form: Form, learner: Learner, lesson: Lesson, settings: LearningSettings) -> None:
    """`train_steps` gradient steps, each on the next 16 of all results in turn.

    Of every architecture a it follows (reward - baseline) times the gradient of log p(a). An
    architecture that was drawn by an earlier controller counts with the ratio of its probabilities
    now and then, at most 1 (truncated importance sampling: Ionides 2008), so nothing that is
    unlikely by now is pushed further away.
    """
    advantages = lesson.rewards - baselines(lesson.rewards, settings)
    count = len(advantages)
    size = min(STEP_ARCHITECTURES, count)
    for at in range(settings.train_steps):
        rows = (count - size - at * size + np.arange(size)) % count
        unrolled = unroll(form, learner.flat, lesson.batch[rows])
        ratios = np.exp(np.minimum(unrolled.log_p - lesson.log_p[rows], 0))
        weights = -np.nan_to_num(ratios, nan=1.0) * advantages[rows] / size
        goal = Goal(
            weights=weights,
            entropy=settings.entropy_weight,
            skip=settings.skip_weight,
            skip_target=settings.skip_target,
        )
        learner.step(gradient(form, learner.flat, unrolled, goal), settings.learning_rate)


def baselines(rewards: NDArray[np.float64], settings: LearningSettings) -> float:
    """The moving average over the results, in the order of their trials. It decays with every
    gradient step, as in Katib; but it starts with the first reward and not from zero."""
    ages = np.arange(len(rewards))[::-1] * settings.train_steps
    weights = settings.baseline_decay ** ages.astype(np.float64)
    return float(weights @ rewards / weights.sum())


def chances(count: int, layers: int, numbers: Sequence[float]) -> NDArray[np.floating[Any]]:
    """Uniform numbers as `unroll` takes them: layers * (layers + 1) / 2 for each architecture."""
    found = np.zeros((count, layers, layers))
    rows, columns = np.tril_indices(layers)
    found[:, rows, columns] = np.array(numbers).reshape(count, -1)
    return found
