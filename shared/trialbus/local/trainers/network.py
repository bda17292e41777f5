"""A small multi-layer perceptron with its gradient, in numpy."""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


class Network:
    """Fully connected layers with ReLU between them and a softmax at the end.

    `widths` are the sizes from input to output, so there are len(widths) - 1 weight layers.
    All weights live in the one vector `weights`; the layers are views into it, and `gradient`
    has the same layout. Weights start after He et al. 2015 (normal, variance 2 / fan-in),
    biases at zero.
    """

    def __init__(self, widths: list[int], rng: np.random.Generator) -> None:
        shapes = list(pairwise(widths))
        size = sum((fan_in + 1) * fan_out for fan_in, fan_out in shapes)
        self.weights: Final = np.zeros(size)
        self.gradient: Final = np.zeros(size)
        self._layers = _views(self.weights, shapes)
        self._gradients = _views(self.gradient, shapes)
        for matrix, _ in self._layers:
            matrix[:] = rng.normal(0.0, np.sqrt(2.0 / matrix.shape[0]), matrix.shape)

    def logits(self, images: Matrix) -> Matrix:
        """Scores before the softmax: (n_images, n_classes)."""
        return self._activations(images)[-1]

    def accuracy(self, images: Matrix, labels: Labels) -> float:
        """Share of the images whose highest score is at their label, in [0, 1]."""
        return float(np.mean(self.logits(images).argmax(axis=1) == labels))

    def backward(self, images: Matrix, labels: Labels) -> float:
        """Fill `gradient` with that of the batch's mean cross entropy, and return this mean."""
        activations = self._activations(images)
        rows = np.arange(len(labels))
        delta, loss = _softmax_cross_entropy(activations[-1], rows, labels)
        for index in range(len(self._layers) - 1, -1, -1):
            entered = activations[index]
            matrix_gradient, bias_gradient = self._gradients[index]
            np.matmul(entered.T, delta, out=matrix_gradient)
            delta.sum(axis=0, out=bias_gradient)
            if index > 0:
                delta = delta @ self._layers[index][0].T
                delta *= entered > 0.0
        return loss

    def _activations(self, images: Matrix) -> list[Matrix]:
        """What enters each layer, then the logits."""
        activations = [images]
        for index, (matrix, bias) in enumerate(self._layers):
            out = activations[-1] @ matrix
            out += bias
            if index < len(self._layers) - 1:
                np.maximum(out, 0.0, out=out)
            activations.append(out)
        return activations


def _softmax_cross_entropy(logits: Matrix, rows: Labels, labels: Labels) -> tuple[Matrix, float]:
    """The gradient with respect to the logits, and the loss, both of the batch's mean."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    delta = np.exp(shifted)
    total = delta.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, labels]))
    delta /= total
    delta[rows, labels] -= 1.0
    delta /= len(labels)
    return delta, loss


def _views(vector: Matrix, shapes: list[tuple[int, int]]) -> list[tuple[Matrix, Matrix]]:
    """The (matrix, bias) of each layer as views into the vector."""
    layers = []
    at = 0
    for fan_in, fan_out in shapes:
        bias_at = at + fan_in * fan_out
        end = bias_at + fan_out
        layers.append((vector[at:bias_at].reshape(fan_in, fan_out), vector[bias_at:end]))
        at = end
    return layers
