"""The networks of the examples: gradients against differences, training, and the data."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from networks import convolutions as conv
from networks import gradients as grad
from networks.gradients import Array, Tensor
from networks.images import load_images
from networks.optimizers import Adam, Momentum, clip_gradients

LABELS = np.array([2, 0, 1])
STEP = 1e-6

Operation = Callable[..., Tensor]


def normal(*shape: int) -> Array:
    """Numbers that no two of are equal, so that no maximum is at a kink."""
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


def differences(number: Callable[[], float], array: Array) -> Array:
    """The gradient of `number` by central differences; `array` is changed and put back."""
    found = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        kept = array[at]
        array[at] = kept + STEP
        above = number()
        array[at] = kept - STEP
        found[at] = (above - number()) / (2 * STEP)
        array[at] = kept
    return found


def same(kernel: int, stride: int = 1, dilation: int = 1) -> conv.Padding:
    return conv.same_padding((6, 5), (kernel, kernel), stride, dilation)


CASES: dict[str, tuple[Operation, Sequence[tuple[int, ...]]]] = {
    "add, broadcast": (grad.add, [(3, 4), (4,)]),
    "multiply, broadcast": (grad.multiply, [(3, 1, 4), (2, 1)]),
    "a tensor used twice": (lambda x: x * x + x, [(3, 4)]),
    "matmul": (grad.matmul, [(3, 4), (4, 2)]),
    "relu": (grad.relu, [(3, 4)]),
    "reshape": (lambda x: grad.reshape(x, (2, 6)), [(3, 4)]),
    "concat": (lambda a, b: grad.concat([a, b]), [(2, 3, 3, 2), (2, 3, 3, 1)]),
    "pad": (lambda x: grad.pad(x, (1, 2), (0, 1)), [(2, 3, 3, 2)]),
    "subsample": (lambda x: grad.subsample(x, 1), [(2, 5, 4, 2)]),
    "global average": (grad.global_average, [(2, 3, 4, 2)]),
    "softmax": (grad.softmax, [(3, 4)]),
    "log softmax": (grad.log_softmax, [(3, 4)]),
    "cross entropy": (lambda x: grad.cross_entropy(x, LABELS), [(3, 4)]),
    "total": (grad.total, [(3, 4)]),
    "dropout": (lambda x: grad.dropout(x, 0.4, np.random.default_rng(1)), [(3, 4)]),
    "weighted sum": (lambda a, b, w: grad.weighted_sum([a, b], w), [(2, 3), (2, 3), (2,)]),
    "convolution": (conv.convolution, [(2, 6, 5, 2), (3, 2, 2, 3)]),
    "convolution 1x1": (conv.convolution, [(2, 6, 5, 2), (1, 1, 2, 3)]),
    "convolution, stride, padding": (
        lambda x, w: conv.convolution(x, w, stride=2, padding=same(3, 2)),
        [(2, 6, 5, 2), (3, 3, 2, 3)],
    ),
    "convolution, dilation": (
        lambda x, w: conv.convolution(x, w, dilation=2, padding=same(3, 1, 2)),
        [(2, 6, 5, 2), (3, 3, 2, 3)],
    ),
    "depthwise": (conv.depthwise_convolution, [(2, 6, 5, 3), (2, 3, 3, 1)]),
    "depthwise, multiplier, stride, dilation": (
        lambda x, w: conv.depthwise_convolution(x, w, stride=2, dilation=2, padding=same(3, 2, 2)),
        [(2, 6, 5, 2), (3, 3, 2, 2)],
    ),
    "max pool": (lambda x: conv.max_pool(x, 2, stride=2), [(2, 6, 5, 2)]),
    "max pool, padded": (
        lambda x: conv.max_pool(x, 3, stride=1, padding=same(3)),
        [(2, 6, 5, 2)],
    ),
    "average pool, padded": (
        lambda x: conv.average_pool(x, 3, stride=2, padding=same(3, 2)),
        [(2, 6, 5, 2)],
    ),
    "batch norm": (lambda x, a, b: conv.batch_norm(x, a, b)[0], [(2, 3, 3, 2), (2,), (2,)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_is_that_of_differences(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "STRETCH", 1)  # so that every image is a stretch of its own
    operation, shapes = CASES[case]
    arrays = [normal(*shape) + i for i, shape in enumerate(shapes)]
    mixing = normal(*operation(*map(grad.constant, arrays)).shape)

    def number() -> float:
        return float((operation(*map(grad.constant, arrays)).value * mixing).sum())

    leaves = [grad.parameter(array) for array in arrays]
    grad.total(operation(*leaves) * grad.constant(mixing)).backward()
    for leaf, array in zip(leaves, arrays, strict=True):
        assert leaf.gradient is not None
        np.testing.assert_allclose(leaf.gradient, differences(number, array), atol=1e-7)


def test_a_convolution_is_that_of_its_definition() -> None:
    x, weights = normal(2, 7, 6, 2), normal(3, 3, 2, 4)
    (top, bottom), (left, right) = conv.same_padding((7, 6), (3, 3), 2, 2)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    found = conv.convolution(
        grad.constant(x),
        grad.constant(weights),
        stride=2,
        dilation=2,
        padding=((top, bottom), (left, right)),
    ).value
    assert found.shape == (2, 4, 3, 4)
    for n, i, j, f in np.ndindex(*found.shape):
        window = padded[n, 2 * i : 2 * i + 5 : 2, 2 * j : 2 * j + 5 : 2]
        assert found[n, i, j, f] == pytest.approx((window * weights[..., f]).sum())


def test_depthwise_is_a_convolution_whose_kernel_is_zero_between_channels() -> None:
    x, weights = normal(2, 6, 5, 3), normal(3, 3, 3, 2)
    dense = np.zeros((3, 3, 3, 6))
    for channel in range(3):
        dense[:, :, channel, 2 * channel : 2 * channel + 2] = weights[:, :, channel]
    found = conv.depthwise_convolution(grad.constant(x), grad.constant(weights), stride=2)
    expected = conv.convolution(grad.constant(x), grad.constant(dense), stride=2)
    np.testing.assert_allclose(found.value, expected.value)


def test_average_pooling_does_not_count_what_was_padded() -> None:
    x = grad.constant(np.ones((1, 4, 4, 1)))
    pooled = conv.average_pool(x, 3, stride=1, padding=conv.same_padding((4, 4), (3, 3)))
    np.testing.assert_allclose(pooled.value, 1.0)


def test_a_kernel_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        conv.max_pool(grad.constant(np.ones((1, 2, 2, 1))), 3, stride=1)


def test_nothing_is_recorded_where_no_gradients_are_wanted() -> None:
    weights = grad.parameter(normal(2, 2))
    with grad.no_gradients():
        assert not grad.total(weights).needs_gradient
    assert grad.total(weights).needs_gradient


def test_optimizers_go_the_steps_of_their_papers() -> None:
    """By hand: two steps with the gradient 2."""
    paths = []
    for make in (
        lambda p: Momentum(p, rate=0.1, momentum=0.5, weight_decay=1.0),
        lambda p: Adam(p, rate=0.1),
    ):
        weight = grad.parameter(np.array(1.0))
        optimizer = make([weight])
        path: list[float] = []
        for _ in range(2):
            weight.gradient = np.array(2.0)
            optimizer.step()
            assert weight.gradient is None
            path.append(float(weight.value))
        paths.append(path)
    # Velocity 2 + 1 = 3; then 1.5 + 2 + 0.7 = 4.2.
    assert paths[0] == pytest.approx([0.7, 0.28])
    # A constant gradient makes steps as long as the rate.
    assert paths[1] == pytest.approx([0.9, 0.8])


def test_clipping_shortens_all_gradients_together() -> None:
    weights = [grad.parameter(np.zeros(1)), grad.parameter(np.zeros(1)), grad.parameter(np.ones(1))]
    weights[0].gradient, weights[1].gradient = np.array([3.0]), np.array([4.0])
    assert clip_gradients(weights, 10.0) == pytest.approx(5.0)
    assert clip_gradients(weights, 1.0) == pytest.approx(5.0)
    assert [float(each.gradient[0]) for each in weights[:2] if each.gradient is not None] == (
        pytest.approx([0.6, 0.8])
    )
    assert weights[2].gradient is None


def test_the_data_is_split_for_good_and_stretched_to_any_size() -> None:
    small, large = load_images(), load_images(32, 16, 3, train=50, validation=20)
    assert small.train_images.shape == (1348, 8, 8, 1)
    assert small.validation_images.shape == (449, 8, 8, 1)
    assert large.train_images.shape == (50, 32, 16, 3)
    np.testing.assert_array_equal(large.validation_labels, small.validation_labels[:20])
    assert set(small.train_labels) == set(range(10))
    assert abs(float(small.train_images.mean())) < 1e-4
    assert small.train_images.dtype == np.float32
    together = np.concatenate([small.train_images, small.validation_images]).reshape(1797, -1)
    assert len(np.unique(together, axis=0)) == 1797  # no image is on both sides


def test_a_small_network_learns_the_digits_in_single_precision() -> None:
    data = load_images(train=600, validation=200)
    rng = np.random.default_rng(0)
    kernel = grad.parameter(rng.normal(0, 0.3, (3, 3, 1, 12)).astype(np.float32))
    dense = grad.parameter(rng.normal(0, 0.1, (12 * 9, 10)).astype(np.float32))
    scale, shift = (grad.parameter(np.full(12, v, np.float32)) for v in (1.0, 0.0))

    def scores(images: Array) -> Tensor:
        filtered = conv.convolution(grad.constant(images), kernel)
        normed, _, _ = conv.batch_norm(filtered, scale, shift)
        pooled = conv.max_pool(grad.relu(normed), 2, stride=2)
        return grad.matmul(grad.reshape(pooled, (len(images), -1)), dense)

    optimizer = Adam([kernel, dense, scale, shift], rate=0.01)
    for _ in range(5):
        for first in range(0, 600, 50):
            some = slice(first, first + 50)
            loss = grad.cross_entropy(scores(data.train_images[some]), data.train_labels[some])
            loss.backward()
            optimizer.step()
    assert {each.value.dtype for each in (kernel, dense, scale, shift)} == {np.dtype(np.float32)}
    with grad.no_gradients():
        guessed = scores(data.validation_images).value.argmax(axis=1)
    assert np.mean(guessed == data.validation_labels) > 0.9
