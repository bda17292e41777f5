"""Layers of a network: operations with parameters of their own."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from networks.convolutions import (
    EPSILON,
    Padding,
    average_pool,
    batch_norm,
    convolution,
    depthwise_convolution,
    max_pool,
    same_padding,
)
from networks.gradients import Tensor, add, constant, matmul, multiply, parameter, relu

# How much of the known mean and variance a batch leaves, for measuring.
STATISTICS_MOMENTUM = 0.8


class Layer(Protocol):
    """channels: of what comes out."""

    channels: int

    @property
    def parameters(self) -> Sequence[Tensor]: ...

    def __call__(self, x: Tensor, *, training: bool) -> Tensor: ...


class BatchNorm:
    """By the batch's own mean and variance in training, else by their running means."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._scale = parameter(np.ones(channels, np.float32))
        self._shift = parameter(np.zeros(channels, np.float32))
        self._mean = np.zeros(channels, np.float32)
        self._variance = np.ones(channels, np.float32)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._scale, self._shift]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        if not training:
            inverse = 1 / np.sqrt(self._variance + EPSILON)
            normal = multiply(add(x, constant(-self._mean)), constant(inverse))
            return add(multiply(normal, self._scale), self._shift)
        value, mean, variance = batch_norm(x, self._scale, self._shift)
        kept = STATISTICS_MOMENTUM
        self._mean = kept * self._mean + (1 - kept) * mean
        self._variance = kept * self._variance + (1 - kept) * variance
        return value


class Convolution:
    """ReLU, convolution, batch normalisation; the size of images divided by the stride."""

    def __init__(
        self,
        inputs: int,
        rng: np.random.Generator,
        *,
        num_filter: int = 64,
        filter_size: int = 3,
        stride: int = 1,
    ) -> None:
        self.channels = num_filter
        self._stride = stride
        self._weights = he_weights(rng, (filter_size, filter_size, inputs, num_filter))
        self._norm = BatchNorm(num_filter)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._weights, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        padding = _padding(x, self._weights, self._stride)
        filtered = convolution(relu(x), self._weights, stride=self._stride, padding=padding)
        return self._norm(filtered, training=training)


class DepthwiseConvolution:
    """As `Convolution`, but of each channel by itself; `num_filter` mixes them afterwards, which
    makes it separable (Chollet 2017)."""

    def __init__(
        self,
        inputs: int,
        rng: np.random.Generator,
        *,
        filter_size: int = 3,
        stride: int = 1,
        depth_multiplier: int = 1,
        num_filter: int | None = None,
    ) -> None:
        deep = inputs * depth_multiplier
        self.channels = deep if num_filter is None else num_filter
        self._stride = stride
        shape = (filter_size, filter_size, inputs, depth_multiplier)
        self._weights = he_weights(rng, shape, fan_in=filter_size**2)
        self._mixing = None if num_filter is None else he_weights(rng, (1, 1, deep, num_filter))
        self._norm = BatchNorm(self.channels)

    @property
    def parameters(self) -> Sequence[Tensor]:
        mixing = [] if self._mixing is None else [self._mixing]
        return [self._weights, *mixing, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        padding = _padding(x, self._weights, self._stride)
        filtered = depthwise_convolution(
            relu(x), self._weights, stride=self._stride, padding=padding
        )
        if self._mixing is not None:
            filtered = convolution(filtered, self._mixing)
        return self._norm(filtered, training=training)


class Reduction:
    """The largest or the mean of each window; images that are smaller than it stay as they are."""

    def __init__(
        self,
        inputs: int,
        *,
        reduction_type: str = "max_pooling",
        pool_size: int = 2,
        stride: int | None = None,
    ) -> None:
        self.channels = inputs
        self._pool = {"max_pooling": max_pool, "avg_pooling": average_pool}[reduction_type]
        self._size, self._stride = pool_size, stride or pool_size

    @property
    def parameters(self) -> Sequence[Tensor]:
        return []

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:  # noqa: ARG002
        if min(x.shape[1:3]) < self._size:
            return x
        return self._pool(x, self._size, stride=self._stride)


class Dense:
    """(rows, inputs) -> (rows, channels)."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        self.channels = outputs
        self._weights = he_weights(rng, (inputs, outputs))
        self._shift = parameter(np.zeros(outputs, np.float32))

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._weights, self._shift]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:  # noqa: ARG002
        return add(matmul(x, self._weights), self._shift)


def _padding(x: Tensor, weights: Tensor, stride: int) -> Padding:
    _, height, width, _ = x.shape
    rows, columns, *_ = weights.shape
    return same_padding((height, width), (rows, columns), stride)


def he_weights(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int | None = None
) -> Tensor:
    """Normal with deviation sqrt(2 / numbers that go into one) (He et al. 2015)."""
    numbers = int(np.prod(shape[:-1])) if fan_in is None else fan_in
    return parameter(rng.normal(0, np.sqrt(2 / numbers), shape).astype(np.float32))
