"""Reverse-mode automatic differentiation over NumPy arrays.

An operation computes its value at once and remembers how a gradient flows back through it:

    weights = parameter(np.zeros((4, 2)))
    loss = cross_entropy(matmul(constant(inputs), weights), labels)
    loss.backward()
    weights.gradient  # of the loss, an array like weights.value

Arrays keep the type they come with: float32 to train, float64 to check gradients by differences.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
# From the gradient of a value to those of its parents, None for those that need none.
Pull = Callable[[Array], Sequence[Array | None]]


class Recording:
    """Whether operations remember how gradients flow back."""

    is_on = True


@contextmanager
def no_gradients() -> Iterator[None]:
    """Within, values are computed only: less memory for measuring."""
    before, Recording.is_on = Recording.is_on, False
    try:
        yield
    finally:
        Recording.is_on = before


class Tensor:
    """An array, and where it came from. `gradient` is filled by `backward`, in parameters only;
    it adds up until somebody sets it to None."""

    __slots__ = ("_parents", "_pull", "gradient", "needs_gradient", "value")

    def __init__(self, value: Array, *, needs_gradient: bool = False) -> None:
        self.value = value
        self.needs_gradient = needs_gradient
        self.gradient: Array | None = None
        self._parents: tuple[Tensor, ...] = ()
        self._pull: Pull | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __add__(self, other: "Tensor") -> "Tensor":
        return add(self, other)

    def __mul__(self, other: "Tensor") -> "Tensor":
        return multiply(self, other)

    def __matmul__(self, other: "Tensor") -> "Tensor":
        return matmul(self, other)

    def backward(self) -> None:
        """Add the gradients of this number to those of the parameters that it was made of."""
        if self.value.size != 1:
            raise ValueError(f"only a number has a gradient, not an array {self.shape}")
        flowing: dict[int, Array] = {id(self): np.ones_like(self.value)}
        for tensor in reversed(self._ancestry()):
            gradient = flowing.pop(id(tensor))
            if tensor._pull is None:
                known = tensor.gradient
                tensor.gradient = gradient if known is None else known + gradient
                continue
            parts = tensor._pull(gradient)
            for parent, part in zip(tensor._parents, parts, strict=True):
                if part is not None and parent.needs_gradient:
                    known = flowing.get(id(parent))
                    flowing[id(parent)] = part if known is None else known + part

    def _ancestry(self) -> list["Tensor"]:
        """Every tensor that needs a gradient, parents before children."""
        order: list[Tensor] = []
        done: set[int] = set()
        stack: list[tuple[Tensor, bool]] = [(self, False)]
        while stack:
            tensor, is_ready = stack.pop()
            if is_ready:
                order.append(tensor)
            elif id(tensor) not in done and tensor.needs_gradient:
                done.add(id(tensor))
                stack.append((tensor, True))
                stack.extend((parent, False) for parent in tensor._parents)
        return order


def constant(value: Array) -> Tensor:
    return Tensor(value)


def parameter(value: Array) -> Tensor:
    """What is trained."""
    return Tensor(value, needs_gradient=True)


def recorded(value: Array, parents: tuple[Tensor, ...], pull: Pull) -> Tensor:
    """The result of an operation."""
    tensor = Tensor(value)
    if Recording.is_on and any(parent.needs_gradient for parent in parents):
        tensor.needs_gradient = True
        tensor._parents = parents
        tensor._pull = pull
    return tensor


def add(a: Tensor, b: Tensor) -> Tensor:
    def pull(gradient: Array) -> Sequence[Array]:
        return _summed_to(gradient, a.shape), _summed_to(gradient, b.shape)

    return recorded(a.value + b.value, (a, b), pull)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Element by element, with NumPy's broadcasting."""

    def pull(gradient: Array) -> Sequence[Array | None]:
        return (
            _summed_to(gradient * b.value, a.shape) if a.needs_gradient else None,
            _summed_to(gradient * a.value, b.shape) if b.needs_gradient else None,
        )

    return recorded(a.value * b.value, (a, b), pull)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """(rows, inner) @ (inner, columns)."""

    def pull(gradient: Array) -> Sequence[Array | None]:
        return (
            gradient @ b.value.T if a.needs_gradient else None,
            a.value.T @ gradient if b.needs_gradient else None,
        )

    return recorded(a.value @ b.value, (a, b), pull)


def relu(x: Tensor) -> Tensor:
    is_above = x.value > 0
    return recorded(np.maximum(x.value, 0), (x,), lambda gradient: (gradient * is_above,))


def dropout(x: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Zeros in place of this share of the numbers, at random; the others grow, so that the sum
    stays the same on average."""
    scale = (rng.random(x.shape) >= share) / (1 - share)
    mask = scale.astype(x.value.dtype)
    return recorded(x.value * mask, (x,), lambda gradient: (gradient * mask,))


def total(x: Tensor) -> Tensor:
    """The sum of all numbers."""
    return recorded(
        np.asarray(x.value.sum()), (x,), lambda gradient: (np.broadcast_to(gradient, x.shape),)
    )


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return recorded(
        x.value.reshape(shape), (x,), lambda gradient: (gradient.reshape(x.value.shape),)
    )


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Side by side along an axis, by default the channels."""
    ends = np.cumsum([tensor.shape[axis] for tensor in tensors])[:-1]
    value = np.concatenate([tensor.value for tensor in tensors], axis=axis)
    return recorded(value, tuple(tensors), lambda gradient: np.split(gradient, ends, axis=axis))


def pad(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Zeros around images: so many rows above and below, columns left and right."""
    _, height, width, _ = x.shape
    inner = (
        slice(None),
        slice(rows[0], rows[0] + height),
        slice(columns[0], columns[0] + width),
    )
    value = np.pad(x.value, ((0, 0), rows, columns, (0, 0)))
    return recorded(value, (x,), lambda gradient: (gradient[inner],))


def subsample(x: Tensor, offset: int = 0, step: int = 2) -> Tensor:
    """Every `step`-th pixel of images from (offset, offset) on."""
    inner = (slice(None), slice(offset, None, step), slice(offset, None, step))

    def pull(gradient: Array) -> Sequence[Array]:
        spread = np.zeros_like(x.value)
        spread[inner] = gradient
        return (spread,)

    return recorded(np.ascontiguousarray(x.value[inner]), (x,), pull)


def global_average(x: Tensor) -> Tensor:
    """(images, height, width, channels) -> (images, channels)."""
    _, height, width, _ = x.shape

    def pull(gradient: Array) -> Sequence[Array]:
        share = gradient[:, None, None, :] / (height * width)
        return (np.broadcast_to(share, x.shape),)

    return recorded(x.value.mean(axis=(1, 2)), (x,), pull)


def softmax(x: Tensor) -> Tensor:
    """Probabilities along the last axis."""
    value = np.exp(_log_probabilities(x.value))

    def pull(gradient: Array) -> Sequence[Array]:
        flow = value * gradient
        return (flow - value * flow.sum(axis=-1, keepdims=True),)

    return recorded(value, (x,), pull)


def log_softmax(x: Tensor) -> Tensor:
    """Logarithms of probabilities along the last axis."""
    value = _log_probabilities(x.value)

    def pull(gradient: Array) -> Sequence[Array]:
        return (gradient - np.exp(value) * gradient.sum(axis=-1, keepdims=True),)

    return recorded(value, (x,), pull)


def cross_entropy(scores: Tensor, labels: Labels) -> Tensor:
    """The mean of -log softmax(scores) at the labels. scores: (examples, classes)."""
    log_p = _log_probabilities(scores.value)
    rows = np.arange(len(labels))

    def pull(gradient: Array) -> Sequence[Array]:
        delta = np.exp(log_p)
        delta[rows, labels] -= 1
        return (delta * (gradient / len(labels)),)

    return recorded(np.asarray(-log_p[rows, labels].mean()), (scores,), pull)


def weighted_sum(branches: Sequence[Tensor], weights: Tensor) -> Tensor:
    """branches, all of one shape, times the numbers of `weights` (branches,): a mixed operation."""
    if weights.shape != (len(branches),):
        raise ValueError(f"{len(branches)} branches and weights of shape {weights.shape}")
    value = sum(
        (branch.value * weight for branch, weight in zip(branches, weights.value, strict=True)),
        start=np.zeros_like(branches[0].value),
    )

    def pull(gradient: Array) -> Sequence[Array | None]:
        numbers = weights.value
        flows = [
            gradient * weight if branch.needs_gradient else None
            for branch, weight in zip(branches, numbers, strict=True)
        ]
        flat = gradient.reshape(-1)
        of_weights = [flat @ branch.value.reshape(-1) for branch in branches]
        return (*flows, np.array(of_weights, dtype=numbers.dtype))

    return recorded(value, (*branches, weights), pull)


def _log_probabilities(scores: Array) -> Array:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of broadcasting from `shape`."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, size in enumerate(shape) if size == 1 and gradient.shape[extra + i] != 1
    )
    result: Array = gradient.sum(axis=axes, keepdims=True).reshape(shape)
    return result
