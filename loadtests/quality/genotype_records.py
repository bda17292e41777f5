"""What the benchmark of genotypes has run, as JSON lines, so that nothing is run again, and the
space of them all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
# The space of examples/nas/darts.yaml.
PRIMITIVES = (
    "separable_convolution_3x3",
    "separable_convolution_5x5",
    "dilated_convolution_3x3",
    "avg_pooling_3x3",
    "max_pooling_3x3",
    "skip_connection",
)

Record = Mapping[str, Any]


class Kept:
    """Results by what they are of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._records = {_key(it): it for it in map(json.loads, lines)}

    def find(self, **key: Any) -> Record | None:
        return self._records.get(_key(key))

    def of(self, kind: str, seed: int) -> list[Record]:
        """All of one seed, in the order in which they were run."""
        return [it for it in self._records.values() if (it["kind"], it["seed"]) == (kind, seed)]

    def add(self, record: Record) -> Record:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._records[_key(record)] = record
        return record


def _key(record: Record) -> tuple[str, str, int]:
    return record["kind"], record["name"], record["seed"]
