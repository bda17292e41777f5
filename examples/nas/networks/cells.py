"""The operations of DARTS' cells, by the names that they have in Katib's search spaces.

Liu, Simonyan and Yang 2019, section 3.1.1. All keep the number of channels; with a stride of 2 they
halve the image.
"""

import re
from collections.abc import Sequence

import numpy as np

from networks.convolutions import (
    average_pool,
    convolution,
    max_pool,
    same_padding,
)
from networks.genotypes import NONE
from networks.gradients import Tensor, concat, constant, pad, relu, subsample
from networks.layers import BatchNorm, Layer, he_weights
from networks.separable import separable_convolution

SKIP = "skip_connection"
_SIZED = re.compile(r"(separable_convolution|dilated_convolution|avg_pooling|max_pooling)_(\d+)x\2")
_DILATION = 2


def make_operation(
    name: str, channels: int, stride: int, rng: np.random.Generator, *, learns_scale: bool
) -> Layer:
    """learns_scale: of batch normalisations. In a search it does not, because it would outweigh the
    strengths of operations. ValueError: there is no such operation."""
    if name == NONE:
        return Nothing(channels, stride)
    if name == SKIP and stride == 1:
        return Same(channels)
    if name == SKIP:
        return Halved(channels, channels, rng, learns_scale=learns_scale)
    found = _SIZED.fullmatch(name)
    if found is None or int(found[2]) % 2 == 0:
        raise ValueError(f"there is no operation {name}")
    kind, size = found[1], int(found[2])
    if kind.endswith("pooling"):
        return Pooling(kind, channels, size, stride, learns_scale=learns_scale)
    first = Depthwise(
        channels,
        size,
        stride,
        rng,
        dilation=_DILATION if kind == "dilated_convolution" else 1,
        learns_scale=learns_scale,
    )
    if kind == "dilated_convolution":
        return first
    return InTurn([first, Depthwise(channels, size, 1, rng, learns_scale=learns_scale)])


def pixels(images: Tensor) -> tuple[int, int]:
    """Height and width."""
    return images.shape[1], images.shape[2]


class FixedNorm(BatchNorm):
    """A batch normalisation that does not learn a scale."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self._scale = constant(np.ones(channels, np.float32))
        self._shift = constant(np.zeros(channels, np.float32))

    @property
    def parameters(self) -> Sequence[Tensor]:
        return []


def norm(channels: int, *, learns_scale: bool) -> BatchNorm:
    return BatchNorm(channels) if learns_scale else FixedNorm(channels)


class Same:
    """The identity."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    @property
    def parameters(self) -> Sequence[Tensor]:
        return []

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:  # noqa: ARG002
        return x


class Nothing(Same):
    """Zeros."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels)
        self._stride = stride

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:  # noqa: ARG002
        count, height, width, channels = x.shape
        size = -(-height // self._stride), -(-width // self._stride)
        return constant(np.zeros((count, *size, channels), x.value.dtype))


class Pooling:
    """The largest or the mean of each window, normalised."""

    def __init__(
        self, kind: str, channels: int, size: int, stride: int, *, learns_scale: bool
    ) -> None:
        self.channels = channels
        self._pool = {"max_pooling": max_pool, "avg_pooling": average_pool}[kind]
        self._size, self._stride = size, stride
        self._norm = norm(channels, learns_scale=learns_scale)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return self._norm.parameters

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        padding = same_padding(pixels(x), (self._size, self._size), self._stride)
        pooled = self._pool(x, self._size, stride=self._stride, padding=padding)
        return self._norm(pooled, training=training)


class Depthwise:
    """ReLU, a convolution of each channel by itself, one of 1x1 that mixes them, normalised."""

    def __init__(
        self,
        channels: int,
        size: int,
        stride: int,
        rng: np.random.Generator,
        *,
        dilation: int = 1,
        learns_scale: bool,
    ) -> None:
        self.channels = channels
        self._stride, self._dilation = stride, dilation
        self._weights = he_weights(rng, (size, size, channels, 1), fan_in=size**2)
        self._mixing = he_weights(rng, (1, 1, channels, channels))
        self._norm = norm(channels, learns_scale=learns_scale)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._weights, self._mixing, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        kernel = self._weights.shape[0], self._weights.shape[1]
        padding = same_padding(pixels(x), kernel, self._stride, self._dilation)
        filtered = separable_convolution(
            relu(x),
            self._weights,
            self._mixing,
            stride=self._stride,
            dilation=self._dilation,
            padding=padding,
        )
        return self._norm(filtered, training=training)


class InTurn:
    """One after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.channels = layers[-1].channels
        self._layers = layers

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [it for layer in self._layers for it in layer.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        for layer in self._layers:
            x = layer(x, training=training)
        return x


class Mixed:
    """ReLU, a convolution of 1x1 to another number of channels, normalised."""

    def __init__(
        self, inputs: int, channels: int, rng: np.random.Generator, *, learns_scale: bool
    ) -> None:
        self.channels = channels
        self._weights = he_weights(rng, (1, 1, inputs, channels))
        self._norm = norm(channels, learns_scale=learns_scale)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._weights, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        return self._norm(convolution(relu(x), self._weights), training=training)


class Halved:
    """Half an image: one half of the channels from the even pixels, the other from the odd ones."""

    def __init__(
        self, inputs: int, channels: int, rng: np.random.Generator, *, learns_scale: bool
    ) -> None:
        self.channels = channels
        halves = (channels - channels // 2, channels // 2)
        self._weights = [he_weights(rng, (1, 1, inputs, it)) for it in halves if it]
        self._norm = norm(channels, learns_scale=learns_scale)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [*self._weights, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        even = pad(relu(x), (0, x.shape[1] % 2), (0, x.shape[2] % 2))
        halves = [
            convolution(subsample(even, offset), weights)
            for offset, weights in enumerate(self._weights)
        ]
        return self._norm(concat(halves), training=training)
