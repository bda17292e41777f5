"""Separable convolutions: each channel by itself, then a mixture of the channels.

Of small images, as DARTS' cells have them, one product of matrices is several times faster than
going over the kernel's pixels: the convolution is linear, so a matrix takes all numbers of an image
to all that come out.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from networks.convolutions import Padding, Windows, convolution, depthwise_convolution
from networks.gradients import Array, Labels, Tensor, recorded

# Numbers of the matrix up to which it is faster: 8 x 8 images of 8 channels.
DENSE_NUMBERS = 2**18


def separable_convolution(
    x: Tensor,
    weights: Tensor,
    mixing: Tensor,
    *,
    stride: int,
    dilation: int,
    padding: Padding,
) -> Tensor:
    """weights: (kernel height, kernel width, channels, 1); mixing: (1, 1, channels, filters)."""
    _, height, width, channels = x.shape
    size = height + sum(padding[0]), width + sum(padding[1])
    rows, columns, *_ = weights.shape
    windows = Windows.on(size, (rows, columns), stride, dilation)
    places = windows.out[0] * windows.out[1]
    if height * width * channels * places * mixing.shape[3] <= DENSE_NUMBERS:
        return _as_matrix(x, weights, mixing, windows, padding)
    filtered = depthwise_convolution(x, weights, stride=stride, dilation=dilation, padding=padding)
    return convolution(filtered, mixing)


def _as_matrix(
    x: Tensor, weights: Tensor, mixing: Tensor, windows: Windows, padding: Padding
) -> Tensor:
    count, height, width, channels = x.shape
    filters = mixing.shape[3]
    sources, targets, pixels, starts = _links(windows, (height, width), padding)
    places = windows.out[0] * windows.out[1]
    each = weights.value.reshape(-1, channels, 1)
    mixed = mixing.value.reshape(1, channels, filters)
    kernel = each * mixed
    links = np.zeros((height * width, places, channels, filters), kernel.dtype)
    links[sources, targets] = kernel[pixels]
    shape = (height * width * channels, places * filters)
    matrix = links.transpose(0, 2, 1, 3).reshape(shape)
    rows = x.value.reshape(count, -1)
    value = (rows @ matrix).reshape(count, *windows.out, filters)

    def pull(gradient: Array) -> Sequence[Array | None]:
        flow = gradient.reshape(count, -1)
        back = (flow @ matrix.T).reshape(x.shape) if x.needs_gradient else None
        of_matrix = (rows.T @ flow).reshape(height * width, channels, places, filters)
        of_links = of_matrix.transpose(0, 2, 1, 3)[sources, targets]
        of_kernel = np.zeros_like(kernel)
        # Pixels that lie on the padding at every place have no links.
        of_kernel[pixels[starts]] = np.add.reduceat(of_links, starts, axis=0)
        return (
            back,
            (of_kernel * mixed).sum(axis=2).reshape(weights.shape),
            (of_kernel * each).sum(axis=0).reshape(mixing.shape),
        )

    return recorded(value, (x, weights, mixing), pull)


@lru_cache(maxsize=256)
def _links(
    windows: Windows, size: tuple[int, int], padding: Padding
) -> tuple[Labels, Labels, Labels, Labels]:
    """Which pixel of an image (height * width) goes into which place of what comes out, by which
    pixel of the kernel; sorted by the latter, and where each of those starts."""
    (top, _), (left, _) = padding
    rows, columns = windows.kernel
    i, j, down, right = np.indices((rows, columns, *windows.out)).reshape(4, -1)
    y = down * windows.stride + i * windows.dilation - top
    x = right * windows.stride + j * windows.dilation - left
    is_inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    pixels = (i * columns + j)[is_inside]
    sources = (y * size[1] + x)[is_inside]
    targets = (down * windows.out[1] + right)[is_inside]
    starts = np.flatnonzero(np.diff(pixels, prepend=-1))
    return sources, targets, pixels, starts
