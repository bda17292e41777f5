"""Networks of cells: the one that holds all architectures, and those of single genotypes.

Liu, Simonyan and Yang 2019. Katib's trial puts the reduction cells where this one does: of two
layers the second, of more those after a third and after two thirds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from networks.cells import Halved, Mixed, make_operation, pixels
from networks.convolutions import convolution, same_padding
from networks.genotypes import NONE, Edge, Gene, Genotype, strongest
from networks.gradients import (
    Array,
    Tensor,
    add,
    concat,
    global_average,
    parameter,
    softmax,
    weighted_sum,
)
from networks.layers import BatchNorm, Dense, Layer, he_weights

# How far the strengths lie apart at the start: hardly.
ALPHA_DEVIATION = 1e-3
STEM_KERNEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """channels: of the first cell; a reduction cell doubles them. stem_multiplier: of the stem's
    channels. inputs: channels of the images."""

    layers: int
    nodes: int
    channels: int
    stem_multiplier: int
    inputs: int
    classes: int

    def reduces(self, layer: int) -> bool:
        if self.layers <= 2:
            return self.layers == 2 and layer == 1
        return layer in (self.layers // 3, 2 * self.layers // 3)


class Stem:
    """A convolution of the images, normalised."""

    def __init__(self, shape: Shape, rng: np.random.Generator) -> None:
        self.channels = shape.stem_multiplier * shape.channels
        self._weights = he_weights(rng, (STEM_KERNEL, STEM_KERNEL, shape.inputs, self.channels))
        self._norm = BatchNorm(self.channels)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._weights, *self._norm.parameters]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        padding = same_padding(pixels(x), (STEM_KERNEL, STEM_KERNEL))
        return self._norm(convolution(x, self._weights, padding=padding), training=training)


# Which operations lie on which edges of one cell: of each node, (operation, from which node).
Choices = Sequence[Sequence[Edge]]


class Cell:
    """Nodes 0 and 1 are the outputs of the two cells before; each further node is the sum of its
    edges; those together are the output.

    inputs: channels of the two outputs. strengths: by what an edge's operations are weighted,
    where there are several on one edge (a search)."""

    def __init__(
        self,
        choices: Choices,
        inputs: tuple[int, int],
        channels: int,
        rng: np.random.Generator,
        *,
        reduces: bool,
        reduced_before: bool,
        is_search: bool,
    ) -> None:
        learns = not is_search
        older = Halved if reduced_before else Mixed
        self._older = older(inputs[0], channels, rng, learns_scale=learns)
        self._newer = Mixed(inputs[1], channels, rng, learns_scale=learns)
        self._edges: list[list[tuple[int, list[Layer]]]] = []
        for node in choices:
            by_source: dict[int, list[Layer]] = {}
            for name, source in node:
                stride = 2 if reduces and source < 2 else 1
                layer = make_operation(name, channels, stride, rng, learns_scale=learns)
                by_source.setdefault(source, []).append(layer)
            self._edges.append(list(by_source.items()))
        self.channels = channels * len(choices)
        self.reduces = reduces

    @property
    def parameters(self) -> list[Tensor]:
        layers: list[Layer] = [self._older, self._newer]
        layers += [it for node in self._edges for _, operations in node for it in operations]
        return [it for layer in layers for it in layer.parameters]

    def __call__(
        self,
        older: Tensor,
        newer: Tensor,
        strengths: Sequence[Sequence[Tensor]] | None,
        *,
        training: bool,
    ) -> Tensor:
        states = [self._older(older, training=training), self._newer(newer, training=training)]
        for number, node in enumerate(self._edges):
            total: Tensor | None = None
            for place, (source, operations) in enumerate(node):
                branches = [it(states[source], training=training) for it in operations]
                if strengths is None:
                    [edge] = branches
                else:
                    edge = weighted_sum(branches, strengths[number][place])
                total = edge if total is None else add(total, edge)
            assert total is not None
            states.append(total)
        return concat(states[2:])


class CellNetwork:
    """Stem, cells, the mean over all pixels, one score for each class."""

    def __init__(
        self,
        shape: Shape,
        cells: Mapping[bool, Choices],
        rng: np.random.Generator,
        *,
        is_search: bool = False,
    ) -> None:
        """cells: of reduction cells (True) and of the others."""
        self.shape = shape
        self._stem = Stem(shape, rng)
        self._cells: list[Cell] = []
        inputs, channels = (self._stem.channels, self._stem.channels), shape.channels
        reduced_before = False
        for layer in range(shape.layers):
            reduces = shape.reduces(layer)
            channels *= 2 if reduces else 1
            cell = Cell(
                cells[reduces],
                inputs,
                channels,
                rng,
                reduces=reduces,
                reduced_before=reduced_before,
                is_search=is_search,
            )
            self._cells.append(cell)
            inputs, reduced_before = (inputs[1], cell.channels), reduces
        self._dense = Dense(inputs[1], shape.classes, rng)

    @property
    def parameters(self) -> list[Tensor]:
        cells = [it for cell in self._cells for it in cell.parameters]
        return [*self._stem.parameters, *cells, *self._dense.parameters]

    def __call__(self, images: Tensor, *, training: bool) -> Tensor:
        """Scores (images, classes)."""
        older = newer = self._stem(images, training=training)
        strengths = self.strengths()
        for cell in self._cells:
            mixed = None if strengths is None else strengths[cell.reduces]
            older, newer = newer, cell(older, newer, mixed, training=training)
        return self._dense(global_average(newer), training=training)

    def strengths(self) -> Mapping[bool, Sequence[Sequence[Tensor]]] | None:
        """Of each edge's operations; None: there is one on each edge."""
        return None


class GenotypeNetwork(CellNetwork):
    """What a search has found, to be trained anew."""

    def __init__(self, genotype: Genotype, shape: Shape, rng: np.random.Generator) -> None:
        cells: Mapping[bool, Gene] = {False: genotype.normal, True: genotype.reduce}
        super().__init__(shape, cells, rng)


class Supernet(CellNetwork):
    """On every edge all operations, weighted by a softmax of `alphas` (section 2.2)."""

    def __init__(self, primitives: Sequence[str], shape: Shape, rng: np.random.Generator) -> None:
        self.primitives = [*primitives, NONE]
        every = [
            [(name, source) for source in range(2 + node) for name in self.primitives]
            for node in range(shape.nodes)
        ]
        super().__init__(shape, {False: every, True: every}, rng, is_search=True)
        self._has_reduction = any(map(shape.reduces, range(shape.layers)))
        self._alphas = {
            reduces: [
                [parameter(self._first_alpha(rng)) for _ in range(2 + node)]
                for node in range(shape.nodes)
            ]
            for reduces in ((False, True) if self._has_reduction else (False,))
        }

    def _first_alpha(self, rng: np.random.Generator) -> Array:
        first: Array = rng.normal(0, ALPHA_DEVIATION, len(self.primitives)).astype(np.float32)
        return first

    @property
    def alphas(self) -> list[Tensor]:
        return [it for cell in self._alphas.values() for node in cell for it in node]

    def strengths(self) -> Mapping[bool, Sequence[Sequence[Tensor]]]:
        return {
            reduces: [[softmax(alpha) for alpha in node] for node in cell]
            for reduces, cell in self._alphas.items()
        }

    @property
    def genotype(self) -> Genotype:
        concat_ = range(2, 2 + self.shape.nodes)
        genes = {
            reduces: strongest([[it.value for it in node] for node in cell], self.primitives)
            for reduces, cell in self._alphas.items()
        }
        return Genotype(genes[False], concat_, genes.get(True, []), concat_)
