"""The network of an architecture that ENAS proposed, from the two texts that a trial is given."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from networks.gradients import Tensor, concat, dropout, global_average, pad
from networks.layers import Convolution, Dense, DepthwiseConvolution, Layer, Reduction

DROPOUT = 0.4


class ArchitectureNetwork:
    """Layer by layer; the outputs of earlier layers that it skips to are put beside the output of
    the layer before. Then the mean over all pixels, dropout, and one score for each class."""

    def __init__(
        self,
        architecture: Sequence[Sequence[int]],
        config: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> None:
        """`architecture`: of each layer its operation's number, then the skips: the first is the
        image, the next the first layer's output, and so on; the layer before is always taken."""
        self._rng = rng
        self._layers: list[Layer] = []
        self._sources: list[list[int]] = []
        channels = [int(config["input_sizes"][-1])]
        for index, (number, *skips) in enumerate(architecture):
            sources = [index, *(at for at, bit in enumerate(skips[:index]) if bit)]
            operation = config["embedding"][str(number)]
            inputs = sum(channels[at] for at in sources)
            layer = make_layer(operation["opt_type"], operation["opt_params"], inputs, rng)
            channels.append(layer.channels)
            self._layers.append(layer)
            self._sources.append(sources)
        self._dense = Dense(channels[-1], int(config["output_sizes"][-1]), rng)

    @property
    def parameters(self) -> list[Tensor]:
        return [it for layer in (*self._layers, self._dense) for it in layer.parameters]

    def __call__(self, images: Tensor, *, training: bool) -> Tensor:
        """Scores (images, classes)."""
        outputs = [images]
        for layer, sources in zip(self._layers, self._sources, strict=True):
            outputs.append(layer(beside([outputs[at] for at in sources]), training=training))
        features = global_average(outputs[-1])
        if training:
            features = dropout(features, DROPOUT, self._rng)
        return self._dense(features, training=training)


def read(architecture: str, config: str) -> tuple[list[list[int]], dict[str, Any]]:
    """The texts may have ' for ", and quotes around them, as Katib's template puts them."""
    rows, known = (
        json.loads(text.strip().strip("\"'").replace("'", '"')) for text in (architecture, config)
    )
    return rows, known


def make_layer(
    kind: str, parameters: Mapping[str, Any], inputs: int, rng: np.random.Generator
) -> Layer:
    """ValueError: there is no such operation."""
    given: dict[str, Any] = {
        name: value if name == "reduction_type" else int(value)
        for name, value in parameters.items()
    }
    if kind == "convolution":
        return Convolution(inputs, rng, **given)
    if kind == "separable_convolution":
        return DepthwiseConvolution(inputs, rng, **{"num_filter": 64, **given})
    if kind == "depthwise_convolution":
        return DepthwiseConvolution(inputs, rng, **given)
    if kind == "reduction":
        return Reduction(inputs, **given)
    raise ValueError(f"there is no operation {kind}")


def beside(tensors: Sequence[Tensor]) -> Tensor:
    """The channels of all; smaller images get zeros around."""
    if len(tensors) == 1:
        return tensors[0]
    height, width = (max(it.shape[axis] for it in tensors) for axis in (1, 2))
    return concat([_grown(it, height, width) for it in tensors])


def _grown(x: Tensor, height: int, width: int) -> Tensor:
    rows, columns = height - x.shape[1], width - x.shape[2]
    if rows == columns == 0:
        return x
    return pad(x, (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
