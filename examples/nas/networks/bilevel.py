"""The search of DARTS: weights and architecture in turn, each on its own half of the images.

Liu, Simonyan and Yang 2019, algorithm 1. The architecture goes down the gradient of the validation
loss at the weights that one more step of training would give (second order, equation 7), or at the
weights as they are (first order, a third of the time).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from networks.cell_networks import Supernet
from networks.gradients import Array, Labels, Tensor, constant, cross_entropy
from networks.optimizers import Adam, Momentum, clip_gradients

# The finite difference moves the weights this far in all (equation 8).
DIFFERENCE = 0.01
ALPHA_BETAS = (0.5, 0.999)

Batch = tuple[Array, Labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """As Katib names them: w_... of the weights, whose rate falls from w_lr to w_lr_min along a
    cosine; alpha_... of the architecture. order: 1 or 2. warm_up: epochs in which only the weights
    learn, so that operations without weights have no head start (Xu et al. 2020, section 4.1)."""

    num_epochs: int
    w_lr: float
    w_lr_min: float
    w_momentum: float
    w_weight_decay: float
    w_grad_clip: float
    alpha_lr: float
    alpha_weight_decay: float
    batch_size: int
    order: int = 2
    warm_up: int = 0

    def rate(self, epoch: int) -> float:
        """Of epoch 0, 1, ..."""
        fall = 0.5 * (1 + np.cos(np.pi * epoch / self.num_epochs))
        return float(self.w_lr_min + (self.w_lr - self.w_lr_min) * fall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Of one step, or of an epoch so far: mean loss and share of right answers in training."""

    step: int
    steps: int
    loss: float
    accuracy: float


class Search:
    """training, validation: the halves."""

    def __init__(
        self,
        network: Supernet,
        training: Batch,
        validation: Batch,
        settings: SearchSettings,
        rng: np.random.Generator,
    ) -> None:
        self._network, self._settings, self._rng = network, settings, rng
        self._training, self._validation = training, validation
        self._weights, self._alphas = network.parameters, network.alphas
        self._of_weights = Momentum(
            self._weights,
            rate=settings.w_lr,
            momentum=settings.w_momentum,
            weight_decay=settings.w_weight_decay,
        )
        self._of_alphas = Adam(
            self._alphas,
            rate=settings.alpha_lr,
            betas=ALPHA_BETAS,
            weight_decay=settings.alpha_weight_decay,
        )

    def epoch(self, number: int) -> Iterator[Progress]:
        """One pass over the training half; after each step how it went so far."""
        self._of_weights.rate = self._settings.rate(number)
        losses, right, seen = 0.0, 0, 0
        # The halves may differ by an image.
        pairs = list(
            zip(self._batches(self._training), self._batches(self._validation), strict=False)
        )
        for step, (training, validation) in enumerate(pairs, start=1):
            if number >= self._settings.warm_up:
                self._step_alphas(training, validation)
            scores, loss = self._loss(training)
            loss.backward()
            _forget(self._alphas)
            clip_gradients(self._weights, self._settings.w_grad_clip)
            self._of_weights.step()
            count = len(training[1])
            losses += float(loss.value) * count
            right += int(np.sum(scores.value.argmax(axis=1) == training[1]))
            seen += count
            yield Progress(step=step, steps=len(pairs), loss=losses / seen, accuracy=right / seen)

    def _batches(self, half: Batch) -> list[Batch]:
        images, labels = half
        order = self._rng.permutation(len(labels))
        size = self._settings.batch_size
        rows = [order[first : first + size] for first in range(0, len(order), size)]
        return [(images[it], labels[it]) for it in rows]

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        scores = self._network(constant(images), training=True)
        return scores, cross_entropy(scores, labels)

    def _step_alphas(self, training: Batch, validation: Batch) -> None:
        if self._settings.order == 1:
            self._loss(validation)[1].backward()
        else:
            self._unrolled(training, validation)
        _forget(self._weights)
        self._of_alphas.step()

    def _unrolled(self, training: Batch, validation: Batch) -> None:
        """Leaves the second-order gradient in the alphas, and the weights as they were."""
        before = [it.value for it in self._weights]
        self._loss(training)[1].backward()
        _forget(self._alphas)
        rate = self._of_weights.rate
        for weight, step in zip(self._weights, self._of_weights.directions(), strict=True):
            weight.value = weight.value - rate * step
        _forget(self._weights)

        self._loss(validation)[1].backward()
        of_alphas, of_weights = _gradients(self._alphas), _gradients(self._weights)
        _forget([*self._alphas, *self._weights])

        curvature = self._curvature(training, before, of_weights)
        for weight, value in zip(self._weights, before, strict=True):
            weight.value = value
        for alpha, first, second in zip(self._alphas, of_alphas, curvature, strict=True):
            alpha.gradient = first - rate * second

    def _curvature(
        self, training: Batch, before: Sequence[Array], direction: Sequence[Array]
    ) -> list[Array]:
        """The mixed second derivative of the training loss times `direction`, by differences."""
        length = float(np.sqrt(sum(float(np.sum(it * it)) for it in direction)))
        reach = DIFFERENCE / max(length, 1e-12)
        found = []
        for sign in (1.0, -1.0):
            for weight, value, way in zip(self._weights, before, direction, strict=True):
                weight.value = value + sign * reach * way
            self._loss(training)[1].backward()
            found.append(_gradients(self._alphas))
            _forget([*self._alphas, *self._weights])
        return [(more - less) / (2 * reach) for more, less in zip(*found, strict=True)]


def _gradients(parameters: Sequence[Tensor]) -> list[Array]:
    return [np.zeros_like(it.value) if it.gradient is None else it.gradient for it in parameters]


def _forget(parameters: Sequence[Tensor]) -> None:
    for each in parameters:
        each.gradient = None
