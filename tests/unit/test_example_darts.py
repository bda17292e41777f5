"""The supernet search of the DARTS example: operations, genotypes, second-order gradients."""

from dataclasses import replace

import numpy as np
import pytest

from networks.bilevel import Search, SearchSettings
from networks.cell_networks import GenotypeNetwork, Shape, Supernet
from networks.cells import make_operation
from networks.genotypes import Genotype, parse_genotype, random_genotype, strongest
from networks.gradients import Array, Labels, constant, cross_entropy
from networks.textures import OFFSETS, TEXTURES, draw_textures, load_textures
from run_trial import read, seed_of

SHAPE = Shape(layers=2, nodes=2, channels=2, stem_multiplier=1, inputs=1, classes=3)
PRIMITIVES = ("separable_convolution_3x3", "avg_pooling_3x3", "skip_connection")
TEXT = (
    "Genotype(normal=[[('max_pooling_3x3',0),('skip_connection',1)]],"
    "normal_concat=range(2,3),reduce=[],reduce_concat=range(2,3))"
)


def settings(**changes: float) -> SearchSettings:
    given = {
        "w_lr": 0.1,
        "w_lr_min": 0.1,
        "w_momentum": 0.0,
        "w_weight_decay": 0.0,
        "w_grad_clip": 5.0,
        "alpha_lr": 0.05,
        "alpha_weight_decay": 0.0,
        **changes,
    }
    return SearchSettings(num_epochs=4, batch_size=8, **given)  # type: ignore[arg-type]


def batch(rng: np.random.Generator, count: int = 8) -> tuple[Array, Labels]:
    """Images whose class is where they are bright."""
    labels = rng.integers(0, 3, count)
    images = rng.normal(0, 0.3, (count, 6, 6, 1))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 1
    return images, labels


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
@pytest.mark.parametrize(
    "name",
    [
        *PRIMITIVES,
        "separable_convolution_5x5",
        "dilated_convolution_5x5",
        "max_pooling_3x3",
        "none",
    ],
)
def test_an_operation_keeps_channels_and_divides_the_size_by_its_stride(
    name: str, size: tuple[int, int], stride: int
) -> None:
    layer = make_operation(name, 3, stride, np.random.default_rng(1), learns_scale=False)
    images = np.random.default_rng(2).normal(size=(2, *size, 3)).astype(np.float32)
    height, width = (-(-it // stride) for it in size)
    assert layer(constant(images), training=True).shape == (2, height, width, 3)


@pytest.mark.parametrize("name", ["convolution_3x3", "max_pooling_4x4", "max_pooling_3x5"])
def test_an_unknown_operation_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no operation"):
        make_operation(name, 3, 1, np.random.default_rng(1), learns_scale=False)


def test_reduction_cells_lie_where_katibs_trial_has_them() -> None:
    def reductions(layers: int) -> list[int]:
        shape = Shape(layers=layers, nodes=1, channels=1, stem_multiplier=1, inputs=1, classes=2)
        return [layer for layer in range(layers) if shape.reduces(layer)]

    assert [reductions(it) for it in (1, 2, 3, 8)] == [[], [1], [1, 2], [2, 5]]


def test_a_genotype_reads_back_from_its_text() -> None:
    genotype = parse_genotype(TEXT)
    assert genotype.normal == [[("max_pooling_3x3", 0), ("skip_connection", 1)]]
    assert genotype.text == TEXT
    drawn = random_genotype(PRIMITIVES, 3, np.random.default_rng(1))
    assert parse_genotype(drawn.text) == drawn
    with pytest.raises(ValueError, match="no genotype"):
        parse_genotype("Genotype(normal=[])")


def test_a_node_keeps_its_two_strongest_edges_without_none() -> None:
    edges = [np.array([0.1, 0.2, 9.0]), np.array([0.5, 0.1, 0.0]), np.array([0.0, 0.3, 5.0])]
    assert strongest([edges], ["a", "b", "none"]) == [[("a", 1), ("b", 2)]]


def test_a_found_genotype_can_be_trained() -> None:
    rng = np.random.default_rng(1)
    found = Supernet(PRIMITIVES, SHAPE, rng).genotype
    network = GenotypeNetwork(found, SHAPE, rng)
    images, labels = batch(rng)
    loss = cross_entropy(network(constant(images), training=True), labels)
    loss.backward()
    assert all(it.gradient is not None for it in network.parameters)


def exact(network: Supernet) -> None:
    """Gradients are checked by differences in double precision."""
    for each in (*network.parameters, *network.alphas):
        each.value = each.value.astype(float)


def loss_after_a_step(
    network: Supernet,
    training: tuple[Array, Labels],
    validation: tuple[Array, Labels],
    rate: float,
) -> float:
    """What the architecture is to make small (equation 5 of the paper)."""
    before = [it.value for it in network.parameters]
    cross_entropy(network(constant(training[0]), training=True), training[1]).backward()
    for each in network.parameters:
        assert each.gradient is not None
        each.value = each.value - rate * each.gradient
    loss = cross_entropy(network(constant(validation[0]), training=True), validation[1])
    for each, value in zip(network.parameters, before, strict=True):
        each.value, each.gradient = value, None
    for alpha in network.alphas:
        alpha.gradient = None
    return float(loss.value)


def test_the_second_order_gradient_is_that_of_the_loss_after_one_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With less of a reach than the paper's, ReLU's kinks lie outside of it.
    monkeypatch.setattr("networks.bilevel.DIFFERENCE", 1e-4)
    rng = np.random.default_rng(3)
    network = Supernet(PRIMITIVES, replace(SHAPE, nodes=1), rng)
    exact(network)
    training, validation = batch(rng), batch(rng)
    search = Search(network, training, validation, settings(), rng)
    weights = [it.value for it in network.parameters]
    search._unrolled(training, validation)
    found = [it.gradient for it in network.alphas]
    assert all(it.value is value for it, value in zip(network.parameters, weights, strict=True))

    reach = 1e-5
    wanted = []
    for alpha in network.alphas:
        value, slopes = alpha.value, np.zeros_like(alpha.value)
        for place in range(value.size):
            losses = []
            for sign in (1, -1):
                alpha.value = value.copy()
                alpha.value[place] += sign * reach
                losses.append(loss_after_a_step(network, training, validation, 0.1))
            slopes[place] = (losses[0] - losses[1]) / (2 * reach)
        alpha.value = value
        wanted.append(slopes)
    scale = max(float(np.abs(it).max()) for it in wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one is not None
        assert np.allclose(one, other, atol=1e-5 * scale)


@pytest.mark.parametrize("order", [1, 2])
def test_a_search_learns_weights_and_architecture(order: int) -> None:
    rng = np.random.default_rng(5)
    network = Supernet(PRIMITIVES, SHAPE, rng)
    search = Search(
        network,
        batch(rng, 32),
        batch(rng, 32),
        replace(settings(w_momentum=0.9), order=order),
        rng,
    )
    before = [alpha.value for alpha in network.alphas]
    losses = [list(search.epoch(number))[-1].loss for number in range(4)]
    assert losses[-1] < losses[0] / 2
    moved = [np.abs(it.value - old).max() for it, old in zip(network.alphas, before, strict=True)]
    assert max(moved) > 0.1
    assert isinstance(network.genotype, Genotype)


def test_in_the_warm_up_only_the_weights_learn() -> None:
    rng = np.random.default_rng(5)
    network = Supernet(PRIMITIVES, SHAPE, rng)
    search = Search(network, batch(rng), batch(rng), replace(settings(), order=1, warm_up=1), rng)
    alphas = [alpha.value for alpha in network.alphas]
    weights = [it.value for it in network.parameters]
    list(search.epoch(0))
    assert all(it.value is old for it, old in zip(network.alphas, alphas, strict=True))
    assert any(it.value is not old for it, old in zip(network.parameters, weights, strict=True))
    list(search.epoch(1))
    assert any(it.value is not old for it, old in zip(network.alphas, alphas, strict=True))


def test_a_texture_resembles_itself_at_the_offset_of_its_class_only() -> None:
    images, labels = draw_textures(4000, np.random.default_rng(1), 8)
    assert images.shape == (4000, 8, 8, 1)
    assert abs(images.mean()) < 0.01
    assert set(labels) == set(range(TEXTURES))
    for label in range(TEXTURES):
        (down, right), sign = OFFSETS[label // 2], (1, -1)[label % 2]
        some = images[labels == label, ..., 0].astype(float)
        here, there = some[:, 2:6, 2:6], some[:, 2 + down : 6 + down, 2 + right : 6 + right]
        # (w(p) + s w(p - d)) / sqrt(2): the neighbour shares half of the variance.
        assert (here * there).mean() == pytest.approx(sign / 2, abs=0.07)
        elsewhere = some[:, 2 - right : 6 - right, 2 + down : 6 + down]
        assert abs((here * elsewhere).mean()) < 0.07


def test_every_trial_has_the_same_textures() -> None:
    one, other = load_textures(train=64), load_textures(train=64)
    assert np.array_equal(one.train_images, other.train_images)
    assert len(one.validation_labels) == 16


def test_texts_are_read_with_and_without_the_quotes_of_katibs_template() -> None:
    text = "{'num_epochs': '1', 'w_lr': 0.025, 'batch_size': null}"
    wanted = {"num_epochs": "1", "w_lr": 0.025, "batch_size": None}
    assert read(text) == read(f'"{text}"') == wanted
    assert read("\"['max_pooling_3x3']\"") == ["max_pooling_3x3"]


def test_trials_with_the_same_search_have_seeds_of_their_own() -> None:
    assert seed_of("darts-a") != seed_of("darts-b")
