"""One training run: mini-batches of the digits through a network, one report per epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from trialbus.local.trainers.digits_data import N_CLASSES, N_PIXELS, Digits
from trialbus.local.trainers.flags import Settings
from trialbus.local.trainers.network import Network
from trialbus.local.trainers.optimizers import Adam, Ftrl, Optimizer, Sgd, Vector
from trialbus.local.trainers.snapshots import Snapshot, descent, layers

# The paper's beta of 1 is for gradients of single events. The mean gradient of a batch is near
# 0.01 per coordinate here: with beta of that size the first steps are neither frozen nor jumps.
FTRL_BETA = 0.01
# Enough to tell FTRL from a plain per-coordinate rate, too little to cost accuracy.
FTRL_L1 = 1e-3
FTRL_L2 = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """Accuracies in [0, 1] after `epoch` (counted from 1)."""

    epoch: int
    train_accuracy: float
    validation_accuracy: float


def train(
    settings: Settings,
    digits: Digits,
    start: Snapshot | None = None,
    keep: Callable[[Snapshot], None] = lambda _: None,
) -> Iterator[EpochReport]:
    """Train on the training images only; the same settings give the same reports.

    The learning rate falls linearly to zero over the run, which keeps adam's large steps in deep
    networks from undoing late what was learned early.

    start: to go on from, a network of the same layers. `settings.epochs` counts its epochs too; if
    it has all of them already, as many more are trained. keep: is given the end.
    """
    rng = np.random.default_rng(settings.seed)
    hidden = [settings.hidden] * (settings.num_layers - 1)
    network = Network([N_PIXELS, *hidden, N_CLASSES], rng)
    if start is not None:
        network.weights[:] = start.weights
        rng.bit_generator.state = start.rng
    optimizer = build_optimizer(settings, network.weights)
    if start is not None and start.descent == descent(settings):
        for name, numbers in optimizer.memory().items():
            numbers[:] = start.memory[name]
    n_images = len(digits.train_labels)
    batch_starts = range(0, n_images, settings.batch_size)
    done, end = _epochs(settings, start)
    n_steps = end * len(batch_starts)
    step = done * len(batch_starts)
    for epoch in range(done + 1, end + 1):
        order = rng.permutation(n_images)
        for first in batch_starts:
            rows = order[first : first + settings.batch_size]
            network.backward(digits.train_images[rows], digits.train_labels[rows])
            optimizer.step(network.weights, network.gradient, rate=1.0 - step / n_steps)
            step += 1
        yield EpochReport(
            epoch=epoch,
            train_accuracy=network.accuracy(digits.train_images, digits.train_labels),
            validation_accuracy=network.accuracy(
                digits.validation_images, digits.validation_labels
            ),
        )
    keep(
        Snapshot(
            epochs=end,
            layers=layers(settings),
            weights=network.weights,
            descent=descent(settings),
            memory=optimizer.memory(),
            rng=rng.bit_generator.state,
        )
    )


def _epochs(settings: Settings, start: Snapshot | None) -> tuple[int, int]:
    """How many there are already, and how many there will be at the end."""
    done = 0 if start is None else start.epochs
    return done, settings.epochs if settings.epochs > done else done + settings.epochs


def build_optimizer(settings: Settings, weights: Vector) -> Optimizer:
    """The optimizer that the settings name, for these first weights."""
    match settings.optimizer:
        case "sgd":
            return Sgd(size=weights.size, lr=settings.lr, momentum=settings.momentum)
        case "adam":
            return Adam(size=weights.size, lr=settings.lr)
        case "ftrl":
            return Ftrl(weights=weights, lr=settings.lr, beta=FTRL_BETA, l1=FTRL_L1, l2=FTRL_L2)
        case _:
            assert_never(settings.optimizer)
