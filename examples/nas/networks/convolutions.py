"""Convolutions, pooling and batch normalisation of images, as operations with gradients.

Work goes in stretches of a few images, so that what it needs beside them stays in the cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from networks.gradients import Array, Tensor, recorded

# Rows above and below, columns left and right.
Padding = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING: Padding = ((0, 0), (0, 0))
# Numbers that are worked on at a time: some MB.
STRETCH = 2**19
# Keeps a channel without any variance from being divided by zero (Ioffe and Szegedy 2015).
EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Where a kernel lies on padded images: `out` (height, width) places of a window of `kernel`
    (height, width) pixels that are `dilation` apart, the places `stride` apart."""

    kernel: tuple[int, int]
    out: tuple[int, int]
    stride: int
    dilation: int

    @classmethod
    def on(
        cls, size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int
    ) -> "Windows":
        """On padded images of this size. ValueError: the kernel is larger."""
        spans = [dilation * (k - 1) + 1 for k in kernel]
        if any(span > s for span, s in zip(spans, size, strict=True)):
            raise ValueError(f"a kernel {kernel} does not fit into {size} pixels")
        height, width = ((s - span) // stride + 1 for span, s in zip(spans, size, strict=True))
        return cls(kernel=kernel, out=(height, width), stride=stride, dilation=dilation)

    def pixels(self) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
        """For each pixel of the kernel: its row, its column, and where the windows have it."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield i, j, (slice(None), self._stretch(i, 0), self._stretch(j, 1))

    def _stretch(self, at: int, axis: int) -> slice:
        first = at * self.dilation
        return slice(first, first + (self.out[axis] - 1) * self.stride + 1, self.stride)


def same_padding(
    size: tuple[int, int], kernel: tuple[int, int], stride: int = 1, dilation: int = 1
) -> Padding:
    """With which ceil(size / stride) places come out, the odd pixel below and on the right."""
    rows, columns = (_around(s, k, stride, dilation) for s, k in zip(size, kernel, strict=True))
    return rows, columns


def convolution(
    x: Tensor,
    weights: Tensor,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = NO_PADDING,
) -> Tensor:
    """weights: (kernel height, kernel width, channels, filters)."""
    height, width, channels, filters = weights.shape
    padded = _padded(x.value, padding)
    windows = Windows.on(_size(padded), (height, width), stride, dilation)
    matrix = weights.value.reshape(-1, filters)
    places = windows.out[0] * windows.out[1]
    per_image = places * height * width * channels

    value = np.empty((len(padded), *windows.out, filters), padded.dtype)
    for some in _stretches(len(padded), per_image):
        value[some] = (_columns(padded[some], windows) @ matrix).reshape(value[some].shape)

    def pull(gradient: Array) -> Sequence[Array | None]:
        of_weights = np.zeros_like(matrix)
        of_images = np.zeros_like(padded) if x.needs_gradient else None
        for some in _stretches(len(padded), per_image):
            flow = gradient[some].reshape(-1, filters)
            of_weights += _columns(padded[some], windows).T @ flow
            if of_images is not None:
                back = (flow @ matrix.T).reshape(-1, *windows.out, height, width, channels)
                for i, j, where in windows.pixels():
                    of_images[some][where] += back[:, :, :, i, j]
        inner = None if of_images is None else _cropped(of_images, padding)
        return inner, of_weights.reshape(weights.shape)

    return recorded(value, (x, weights), pull)


def depthwise_convolution(
    x: Tensor,
    weights: Tensor,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = NO_PADDING,
) -> Tensor:
    """Each channel by itself: as many groups as channels.

    weights: (kernel height, kernel width, channels, multiplier); channel c becomes the channels
    c * multiplier ... (c + 1) * multiplier - 1."""
    height, width, channels, multiplier = weights.shape
    kernel = weights.value.reshape(height, width, channels * multiplier)
    padded = _padded(x.value, padding)
    windows = Windows.on(_size(padded), (height, width), stride, dilation)
    per_image = windows.out[0] * windows.out[1] * channels * multiplier

    value = np.zeros((len(padded), *windows.out, channels * multiplier), padded.dtype)
    for some in _stretches(len(padded), per_image):
        source, target = padded[some], value[some]
        for i, j, where in windows.pixels():
            target += _multiplied(source[where], multiplier) * kernel[i, j]

    def pull(gradient: Array) -> Sequence[Array | None]:
        of_weights = np.zeros_like(kernel)
        of_images = np.zeros_like(padded)
        for some in _stretches(len(padded), per_image):
            flow, source, target = gradient[some], padded[some], of_images[some]
            for i, j, where in windows.pixels():
                seen = _multiplied(source[where], multiplier)
                of_weights[i, j] += _channel_sums(seen * flow)
                if x.needs_gradient:
                    back = flow * kernel[i, j]
                    if multiplier > 1:
                        back = back.reshape(*back.shape[:3], channels, multiplier).sum(axis=-1)
                    target[where] += back
        inner = _cropped(of_images, padding) if x.needs_gradient else None
        return inner, of_weights.reshape(weights.shape)

    return recorded(value, (x, weights), pull)


def max_pool(x: Tensor, kernel: int, *, stride: int, padding: Padding = NO_PADDING) -> Tensor:
    """The largest number of each window; the gradient goes to the first of equal ones."""
    padded = _padded(x.value, padding, -np.inf)
    windows = Windows.on(_size(padded), (kernel, kernel), stride, 1)
    value = np.full((len(padded), *windows.out, padded.shape[3]), -np.inf, padded.dtype)
    for _, _, where in windows.pixels():
        np.maximum(value, padded[where], out=value)

    def pull(gradient: Array) -> Sequence[Array]:
        of_images = np.zeros_like(padded)
        is_open = np.ones(value.shape, dtype=bool)
        for _, _, where in windows.pixels():
            is_first = (padded[where] == value) & is_open
            is_open &= ~is_first
            of_images[where] += gradient * is_first
        return (_cropped(of_images, padding),)

    return recorded(value, (x,), pull)


def average_pool(x: Tensor, kernel: int, *, stride: int, padding: Padding = NO_PADDING) -> Tensor:
    """The mean of each window; what was padded does not count."""
    padded = _padded(x.value, padding)
    windows = Windows.on(_size(padded), (kernel, kernel), stride, 1)
    real = _padded(np.ones((1, *x.shape[1:3], 1), padded.dtype), padding)
    counts = sum(
        (real[where] for _, _, where in windows.pixels()),
        start=np.zeros((1, *windows.out, 1), padded.dtype),
    )
    shares = 1 / counts
    value = np.zeros((len(padded), *windows.out, padded.shape[3]), padded.dtype)
    for _, _, where in windows.pixels():
        value += padded[where]
    value *= shares

    def pull(gradient: Array) -> Sequence[Array]:
        of_images = np.zeros_like(padded)
        flow = gradient * shares
        for _, _, where in windows.pixels():
            of_images[where] += flow
        return (_cropped(of_images, padding),)

    return recorded(value, (x,), pull)


def batch_norm(x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Array, Array]:
    """Every channel at mean 0 and variance 1 over this batch, times `scale` plus `shift`, both
    (channels,); and the batch's own mean and variance (Ioffe and Szegedy 2015, algorithm 1)."""
    channels = x.shape[-1]
    rows = x.value.reshape(-1, channels)
    mean = _channel_sums(rows) / len(rows)
    normal = rows - mean
    variance = np.einsum("nc,nc->c", normal, normal) / len(rows)
    inverse = 1 / np.sqrt(variance + EPSILON)
    normal *= inverse
    value = (normal * scale.value + shift.value).reshape(x.shape)

    def pull(gradient: Array) -> Sequence[Array]:
        flow = gradient.reshape(-1, channels)
        of_shift = _channel_sums(flow)
        of_scale = np.einsum("nc,nc->c", flow, normal)
        back = flow - normal * (of_scale / len(rows))
        back -= of_shift / len(rows)
        back *= scale.value * inverse
        return back.reshape(x.shape), of_scale, of_shift

    return recorded(value, (x, scale, shift), pull), mean, variance


def _around(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    places = -(-size // stride)
    missing = max((places - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return missing // 2, missing - missing // 2


def _size(images: Array) -> tuple[int, int]:
    return images.shape[1], images.shape[2]


def _padded(images: Array, padding: Padding, value: float = 0.0) -> Array:
    if padding == NO_PADDING:
        return images
    return np.pad(images, ((0, 0), *padding, (0, 0)), constant_values=value)


def _cropped(images: Array, padding: Padding) -> Array:
    (top, bottom), (left, right) = padding
    return images[:, top : images.shape[1] - bottom, left : images.shape[2] - right]


def _stretches(images: int, numbers_each: int) -> Iterator[slice]:
    step = max(STRETCH // max(numbers_each, 1), 1)
    return (slice(first, first + step) for first in range(0, images, step))


def _columns(padded: Array, windows: Windows) -> Array:
    """(images * places, kernel height * width * channels): one row for each window."""
    channels = padded.shape[3]
    if windows.kernel == (1, 1) and windows.stride == 1:
        return padded.reshape(-1, channels)
    columns = np.empty((len(padded), *windows.out, *windows.kernel, channels), padded.dtype)
    for i, j, where in windows.pixels():
        columns[:, :, :, i, j] = padded[where]
    return columns.reshape(-1, windows.kernel[0] * windows.kernel[1] * channels)


def _multiplied(images: Array, multiplier: int) -> Array:
    return images if multiplier == 1 else np.repeat(images, multiplier, axis=3)


def _channel_sums(images: Array) -> Array:
    """Over all but the last axis: as a product of matrices, which is the fastest."""
    rows = images.reshape(-1, images.shape[-1])
    result: Array = np.ones(len(rows), rows.dtype) @ rows
    return result
