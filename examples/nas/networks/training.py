"""Training of a network that gives scores for classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from networks.gradients import Array, Labels, Tensor, constant, cross_entropy, no_gradients
from networks.images import Images
from networks.optimizers import Adam

# Of images whose classes are looked at in one go.
MEASURED = 256


class Network(Protocol):
    @property
    def parameters(self) -> list[Tensor]: ...

    def __call__(self, images: Tensor, *, training: bool) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """After an epoch, from 1. Accuracies: shares of images whose class is the one with the highest
    score, in training as they were seen, with dropout."""

    number: int
    loss: float
    training_accuracy: float
    validation_accuracy: float


def train(
    network: Network,
    data: Images,
    rng: np.random.Generator,
    *,
    epochs: int,
    batch_size: int,
    rate: float,
) -> Iterator[Epoch]:
    """With Adam, in batches that are drawn anew in each epoch."""
    optimizer = Adam(network.parameters, rate=rate)
    count = len(data.train_labels)
    for number in range(1, epochs + 1):
        order = rng.permutation(count)
        losses, right = 0.0, 0
        for first in range(0, count, batch_size):
            rows = order[first : first + batch_size]
            labels = data.train_labels[rows]
            scores = network(constant(data.train_images[rows]), training=True)
            loss = cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            losses += float(loss.value) * len(rows)
            right += int(np.sum(scores.value.argmax(axis=1) == labels))
        yield Epoch(
            number=number,
            loss=losses / count,
            training_accuracy=right / count,
            validation_accuracy=accuracy(network, data.validation_images, data.validation_labels),
        )


def accuracy(network: Network, images: Array, labels: Labels) -> float:
    right = 0
    with no_gradients():
        for first in range(0, len(labels), MEASURED):
            some = slice(first, first + MEASURED)
            scores = network(constant(images[some]), training=False)
            right += int(np.sum(scores.value.argmax(axis=1) == labels[some]))
    return right / len(labels)
