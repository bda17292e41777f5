"""Genotypes: what a DARTS search ends with, as data and as the text that Katib's trial prints."""

import ast
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from networks.gradients import Array

# In a search each edge may also turn out to be superfluous; no genotype holds it.
NONE = "none"
# Each node of a found cell keeps its strongest inputs (Liu et al. 2019, section 2.4).
INPUTS_PER_NODE = 2

# One edge: the operation, and the number of the node that it comes from. Of each node, its edges.
Edge = tuple[str, int]
Gene = list[list[Edge]]


class Genotype(NamedTuple):
    """normal, reduce: the cells; nodes 0 and 1 are the outputs of the two cells before. The nodes
    in `..._concat` side by side are the cell's output."""

    normal: Gene
    normal_concat: range
    reduce: Gene
    reduce_concat: range

    @property
    def text(self) -> str:
        return str(self).replace(" ", "")


def parse_genotype(text: str) -> Genotype:
    """The inverse of `text`. ValueError: it is no genotype."""
    call = ast.parse(text.strip(), mode="eval").body
    given = call.keywords if isinstance(call, ast.Call) else []
    fields = {str(it.arg): it.value for it in given}
    if fields.keys() != set(Genotype._fields):
        raise ValueError(f"no genotype: {text[:80]}")
    genes = [ast.literal_eval(fields[name]) for name in ("normal", "reduce")]
    concats = [_range_of(fields[name]) for name in ("normal_concat", "reduce_concat")]
    return Genotype(genes[0], concats[0], genes[1], concats[1])


def strongest(alphas: Sequence[Sequence[Array]], primitives: Sequence[str]) -> Gene:
    """Of each edge the strongest operation other than `none`, of each node its strongest edges.

    alphas: of each node, of each edge into it, (primitives,)."""
    names = [name for name in primitives if name != NONE]
    kept = [at for at, name in enumerate(primitives) if name != NONE]
    gene = []
    for edges in alphas:
        strengths = [float(alpha[kept].max()) for alpha in edges]
        best = sorted(range(len(edges)), key=lambda edge: -strengths[edge])[:INPUTS_PER_NODE]
        gene.append([(names[int(edges[edge][kept].argmax())], edge) for edge in best])
    return gene


def random_genotype(
    primitives: Sequence[str], nodes: int, rng: np.random.Generator, *, reduces: bool = True
) -> Genotype:
    """Any of those that a search can end with, each as likely as the others."""
    names = [name for name in primitives if name != NONE]

    def gene() -> Gene:
        return [
            [
                (names[int(rng.integers(len(names)))], int(edge))
                for edge in rng.permutation(2 + node)[:INPUTS_PER_NODE]
            ]
            for node in range(nodes)
        ]

    concat = range(2, 2 + nodes)
    return Genotype(gene(), concat, gene() if reduces else [], concat)


def _range_of(node: ast.expr) -> range:
    arguments = node.args if isinstance(node, ast.Call) else []
    return range(*(ast.literal_eval(argument) for argument in arguments))
