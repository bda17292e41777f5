"""The networks that examples/nas/RunTrial.py builds of architectures, and its command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networks.architectures import ArchitectureNetwork, beside, make_layer, read
from networks.gradients import constant
from networks.images import load_images
from networks.layers import BatchNorm, Reduction
from networks.training import train

FOLDER = Path(__file__).parents[2] / "examples" / "nas"
OPERATIONS: dict[int, tuple[str, dict[str, Any]]] = {
    0: ("convolution", {"filter_size": "3", "num_filter": "6", "stride": "1"}),
    1: ("separable_convolution", {"filter_size": "3", "num_filter": "5", "stride": "2"}),
    2: ("depthwise_convolution", {"filter_size": "3", "depth_multiplier": "2", "stride": "1"}),
    3: ("reduction", {"reduction_type": "max_pooling", "pool_size": 2}),
    4: ("reduction", {"reduction_type": "avg_pooling", "pool_size": 3}),
}


def config(layers: int, size: tuple[int, int, int] = (8, 8, 1)) -> dict[str, Any]:
    return {
        "num_layers": layers,
        "input_sizes": list(size),
        "output_sizes": [10],
        "embedding": {
            str(number): {"opt_id": number, "opt_type": kind, "opt_params": parameters}
            for number, (kind, parameters) in OPERATIONS.items()
        },
    }


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize(
    ("number", "shape"),
    [
        (0, (2, 9, 9, 6)),
        (1, (2, 5, 5, 5)),
        (2, (2, 9, 9, 6)),
        (3, (2, 4, 4, 3)),
        (4, (2, 3, 3, 3)),
    ],
)
def test_operations_make_images_of_these_sizes(number: int, shape: tuple[int, ...]) -> None:
    """As Keras has it: convolutions pad, so that only the stride divides; pooling does not."""
    layer = make_layer(*OPERATIONS[number], 3, rng())
    images = constant(rng().normal(size=(2, 9, 9, 3)).astype(np.float32))
    assert layer(images, training=True).shape == shape
    assert layer.channels == shape[3]


def test_images_that_are_too_small_are_not_reduced() -> None:
    images = constant(np.ones((1, 2, 2, 3), np.float32))
    assert Reduction(3, pool_size=3)(images, training=True) is images


def test_an_unknown_operation_is_an_error() -> None:
    with pytest.raises(ValueError, match="no operation attention"):
        make_layer("attention", {}, 3, rng())


def test_smaller_images_get_zeros_around() -> None:
    large, small = (constant(np.ones((1, side, side, 1), np.float32)) for side in (4, 1))
    channels = beside([large, small]).value
    assert channels.shape == (1, 4, 4, 2)
    assert channels[0, :, :, 1].tolist() == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_skips_put_the_outputs_of_earlier_layers_beside_each_other() -> None:
    """Weights of the third layer by what goes into it: 6 channels of the second layer; with its
    first bit the image's one more, with its second bit the first layer's 6."""
    sizes = {}
    for bits in ((0, 0), (1, 0), (0, 1), (1, 1)):
        network = ArchitectureNetwork([[0], [0, 0], [0, *bits]], config(3), rng())
        third = [it for it in network.parameters if len(it.shape) == 4][2]
        sizes[bits] = third.shape[2]
    assert sizes == {(0, 0): 6, (1, 0): 7, (0, 1): 12, (1, 1): 13}


def test_batches_are_normed_by_themselves_in_training_and_by_known_statistics_after() -> None:
    norm = BatchNorm(2)
    images = constant(rng().normal(3.0, 2.0, (8, 6, 6, 2)).astype(np.float32))
    for _ in range(40):
        batch = norm(images, training=True).value
    assert abs(float(batch.mean())) < 1e-4
    measured = norm(images, training=False).value
    np.testing.assert_allclose(measured, batch, atol=0.01)
    other = norm(constant(images.value + 5), training=False).value
    assert float(other.mean()) == pytest.approx(2.5, abs=0.1)


def test_texts_are_read_with_katibs_quotes_and_without() -> None:
    rows, given = [[3], [0, 1]], config(2)
    architecture = json.dumps(rows)
    written = json.dumps(given).replace('"', "'")
    assert read(architecture, written) == (rows, given)
    assert read(f'"{architecture}"', f'"{written}"') == (rows, given)


def test_a_network_of_all_operations_learns() -> None:
    data = load_images(train=300, validation=200)
    network = ArchitectureNetwork(
        [[0], [2, 1], [3, 0, 1], [1, 0, 0, 1]], config(4), np.random.default_rng(1)
    )
    rng = np.random.default_rng(1)
    epochs = list(train(network, data, rng, epochs=6, batch_size=32, rate=0.01))
    assert epochs[-1].loss < 0.7 * epochs[0].loss
    assert epochs[-1].validation_accuracy > 0.4


def test_the_program_prints_katibs_metrics_for_katibs_arguments() -> None:
    """As the template of enas-cpu.yaml gives them: with quotes around the values."""
    texts = ("[[1]]", json.dumps(config(1, (16, 16, 3))).replace('"', "'"))
    done = subprocess.run(
        [
            sys.executable,
            "-u",
            "RunTrial.py",
            "--num_epochs=1",
            "--num_images=64",
            f'--architecture="{texts[0]}"',
            f'--nn_config="{texts[1]}"',
        ],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    metrics = dict(re.findall(r"^([\w-]+)=(\S+)$", done.stdout, re.M))
    assert metrics.keys() == {"Training-Accuracy", "Training-Loss", "Validation-Accuracy"}
    assert 0 <= float(metrics["Validation-Accuracy"]) <= 1
