"""The command line of the digits trainer: flags in, checked settings out.

Knows nothing of numpy, so a wrong flag is answered before anything heavy is loaded.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

OptimizerName = Literal["sgd", "adam", "ftrl"]
DEFAULT_SEED = 1
# Far above what is useful here: they keep a mistyped flag from filling the memory or the day.
MAX_LAYERS = 100
MAX_HIDDEN = 4096
MAX_EPOCHS = 100_000
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one training run is told."""

    lr: float
    num_layers: int
    """Weight layers: 1 is softmax regression, n has n - 1 hidden layers."""
    optimizer: OptimizerName
    epochs: int
    batch_size: int
    hidden: int
    """Units in each hidden layer."""
    momentum: float
    """Used by sgd only."""
    seed: int
    """Of the first weights and the order of the batches; the data split is always the same."""


def parse_flags(arguments: Sequence[str]) -> Settings:
    """Check the flags. A wrong one ends the process: one line on stderr, exit code 2."""
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    if unknown:
        given = ", ".join(repr(argument) for argument in unknown)
        known = ", ".join(f"--{name.replace('_', '-')}" for name in vars(values))
        parser.error(f"unknown: {given} (known flags: {known})")
    return Settings(**vars(values))


class _OneLineParser(argparse.ArgumentParser):
    """Says what is wrong without printing the usage first."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="digits",
        description="Train a small neural network on the digits data set of scikit-learn.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(flag: str, kind: Callable[[str], object], default: object, meaning: str) -> None:
        parser.add_argument(flag, type=kind, default=default, help=meaning, metavar="VALUE")

    add("--lr", _positive, 0.02, "learning rate")
    add("--num-layers", _whole(1, MAX_LAYERS), 3, "weight layers; 1 has no hidden layer")
    parser.add_argument(
        "--optimizer", choices=get_args(OptimizerName), default="adam", help="how to descend"
    )
    add("--epochs", _whole(1, MAX_EPOCHS), 20, "passes over the training images")
    add("--batch-size", _whole(1, MAX_HIDDEN), 32, "images per step")
    add("--hidden", _whole(1, MAX_HIDDEN), 64, "units in each hidden layer")
    add("--momentum", _momentum, 0.9, "of sgd")
    add("--seed", _whole(0, MAX_SEED), DEFAULT_SEED, "of the first weights and the batches")
    return parser


def _whole(smallest: int, largest: int) -> Callable[[str], int]:
    """A parser of whole numbers in [smallest, largest]."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = smallest - 1
        if not smallest <= value <= largest:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {smallest} to {largest}"
            )
        return value

    return parse


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(text: str) -> float:
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _momentum(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up to, not with, 1")
    return value
