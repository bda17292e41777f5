"""Separable convolutions of the examples: as one product of matrices, the same as in two steps."""

import numpy as np
import pytest

from networks import convolutions as conv
from networks import separable
from networks.gradients import Array, Tensor, multiply, parameter, total


def result_and_gradients(kernel: int, stride: int, dilation: int, side: int) -> list[Array]:
    rng = np.random.default_rng(kernel + stride)
    x = parameter(rng.normal(size=(3, side, side + 1, 2)))
    weights = parameter(rng.normal(size=(kernel, kernel, 2, 1)))
    mixing = parameter(rng.normal(size=(1, 1, 2, 3)))
    padding = conv.same_padding((side, side + 1), (kernel, kernel), stride, dilation)
    value = separable.separable_convolution(
        x, weights, mixing, stride=stride, dilation=dilation, padding=padding
    )
    total(multiply(value, Tensor(rng.normal(size=value.shape)))).backward()
    gradients = [it.gradient for it in (x, weights, mixing)]
    assert all(it is not None for it in gradients)
    return [value.value, *(it for it in gradients if it is not None)]


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "side"),
    [(3, 1, 1, 6), (5, 1, 1, 6), (5, 2, 1, 7), (3, 1, 2, 6), (3, 2, 2, 5), (5, 1, 2, 2)],
)
def test_as_a_matrix_it_is_what_the_two_convolutions_are(
    kernel: int, stride: int, dilation: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = result_and_gradients(kernel, stride, dilation, side)
    monkeypatch.setattr(separable, "DENSE_NUMBERS", 0)
    for one, other in zip(fast, result_and_gradients(kernel, stride, dilation, side), strict=True):
        assert np.allclose(one, other, atol=1e-12)


def test_small_images_are_taken_as_a_matrix_and_large_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    dense = separable._as_matrix

    def watched(x: Tensor, *rest: object) -> Tensor:
        taken.append(x.shape[1])
        return dense(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(separable, "_as_matrix", watched)
    result_and_gradients(3, 1, 1, 6)
    result_and_gradients(3, 1, 1, 32)
    assert taken == [6]
