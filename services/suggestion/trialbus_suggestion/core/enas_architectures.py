"""Networks as ENAS searches them: for each layer an operation, and skips from earlier layers; and
the two texts that a trial is given, in the format of Katib's trial images."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialbus.kernel.axes import Value
from trialbus.kernel.space import Parameter, axis_of
from trialbus.kernel.spec import NasConfig, NasOperation
from trialbus_suggestion.core.enas_checks import VALUES

ARCHITECTURE, NN_CONFIG = VALUES

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation with one value for each of its parameters."""

    type: str
    parameters: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """operations: of each layer, its number in the list of all. skips: of layer i there are i bits;
    bit 0 is the input image, bit j the output of layer j - 1 (0-based). The output of the layer
    before is always taken."""

    operations: tuple[int, ...]
    skips: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpace:
    """operations: by number, those that a layer may be."""

    config: NasConfig
    operations: tuple[Operation, ...] = field(repr=False)

    @classmethod
    def of(cls, config: NasConfig) -> "ArchitectureSpace":
        return cls(config=config, operations=tuple(expanded(config.operations)))

    @property
    def layers(self) -> int:
        return self.config.num_layers

    def cardinality(self) -> int:
        """How many architectures there are."""
        bits = self.layers * (self.layers - 1) // 2
        return int(len(self.operations) ** self.layers << bits)

    def at(self, index: int) -> Architecture:
        """The `index`-th of all: the skips turn fastest."""
        skips: list[tuple[int, ...]] = []
        for layer in range(self.layers):
            skips.append(tuple(index >> bit & 1 for bit in range(layer)))
            index >>= layer
        operations = []
        for _ in range(self.layers):
            index, operation = divmod(index, len(self.operations))
            operations.append(operation)
        return Architecture(operations=tuple(operations), skips=tuple(skips))

    def texts(self, architecture: Architecture) -> dict[str, str]:
        """By name. `nn_config` is JSON with ' instead of ", as Katib writes it, and describes the
        operations that the architecture uses."""
        layers = zip(architecture.operations, architecture.skips, strict=True)
        config = {
            "num_layers": self.layers,
            "input_sizes": self.config.input_sizes,
            "output_sizes": self.config.output_sizes,
            "embedding": {
                number: {
                    "opt_id": number,
                    "opt_type": self.operations[number].type,
                    "opt_params": dict(self.operations[number].parameters),
                }
                for number in architecture.operations
            },
        }
        return {
            ARCHITECTURE: json.dumps([[operation, *skips] for operation, skips in layers]),
            NN_CONFIG: json.dumps(config).replace('"', "'"),
        }

    def parse(self, text: str) -> Architecture:
        """The inverse of `texts`, of the architecture. ValueError: it is none of this space."""
        rows = json.loads(text)
        found = Architecture(
            operations=tuple(row[0] for row in rows), skips=tuple(tuple(row[1:]) for row in rows)
        )
        fits = (
            [len(skips) for skips in found.skips] == list(range(self.layers))
            and all(0 <= number < len(self.operations) for number in found.operations)
            and all(bit in (0, 1) for skips in found.skips for bit in skips)
        )
        if not fits:
            raise ValueError(f"{text!r} is no architecture of this search")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Architectures as arrays. operations: (count, layers); skips: (count, layers, layers), bits
    [:, i, :i] are those of layer i, the others 0."""

    operations: Integers
    skips: Integers

    @classmethod
    def of(cls, architectures: Sequence[Architecture]) -> "Batch":
        layers = len(architectures[0].operations)
        skips = np.zeros((len(architectures), layers, layers), dtype=np.int8)
        for at, architecture in enumerate(architectures):
            for layer, bits in enumerate(architecture.skips):
                skips[at, layer, :layer] = bits
        return cls(operations=np.array([it.operations for it in architectures]), skips=skips)

    def architectures(self) -> list[Architecture]:
        return [
            Architecture(
                operations=tuple(operations),
                skips=tuple(tuple(bits[:layer]) for layer, bits in enumerate(skips)),
            )
            for operations, skips in zip(self.operations.tolist(), self.skips.tolist(), strict=True)
        ]

    def __getitem__(self, rows: Integers) -> "Batch":
        return Batch(operations=self.operations[rows], skips=self.skips[rows])


def expanded(operations: Sequence[NasOperation]) -> Iterator[Operation]:
    """Every operation with every combination of its parameters' values, the last parameter turning
    fastest: their numbers are Katib's. (Katib passes over discrete parameters.)"""
    for operation in operations:
        names = [parameter.name for parameter in operation.parameters]
        for values in product(*map(_values, operation.parameters)):
            named = tuple(zip(names, values, strict=True))
            yield Operation(type=operation.type, parameters=named)


def _values(parameter: Parameter) -> list[Value]:
    if parameter.list:
        return list(parameter.list)
    axis = axis_of(parameter)
    return [axis.value_at(index) for index in range(axis.size or 0)]
