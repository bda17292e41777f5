"""Fit a noisy curve by gradient descent and print the validation loss after every epoch.

Plain Python, nothing to install. The model is a layer of random features, cos(w x + b) or the
like, and a linear readout that mini-batch gradient descent with momentum fits on 160 points;
`loss` is the mean squared error on 80 points that it never sees. The noise alone makes 0.01.
"""

import argparse
import math
import random
from collections.abc import Callable

NOISE = 0.1
N_TRAIN = 160
N_VALIDATION = 80
BATCH_SIZE = 16
WEIGHT_DECAY = 1e-4
DATA_SEED = 7

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "cos": math.cos,
    "gauss": lambda value: math.exp(-value * value),
    "tanh": math.tanh,
}

Point = tuple[list[float], float]


def curve(x: float) -> float:
    return math.sin(3.0 * x) + 0.5 * x


def make_points(count: int, featurise: Callable[[float], list[float]]) -> list[Point]:
    rng = random.Random(DATA_SEED)
    xs = [rng.uniform(-2.0, 2.0) for _ in range(count)]
    return [(featurise(x), curve(x) + rng.gauss(0.0, NOISE)) for x in xs]


def make_features(count: int, activation: str) -> Callable[[float], list[float]]:
    rng = random.Random(DATA_SEED + 1)
    units = [(rng.gauss(0.0, 2.0), rng.uniform(-math.pi, math.pi)) for _ in range(count)]
    function = ACTIVATIONS[activation]
    # Keeps the size of the sum, and so the useful learning rates, independent of the count.
    scale = math.sqrt(2.0 / count)
    return lambda x: [scale * function(weight * x + bias) for weight, bias in units]


def predict(weights: list[float], features: list[float]) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))


def mean_squared_error(weights: list[float], points: list[Point]) -> float:
    return sum((predict(weights, features) - y) ** 2 for features, y in points) / len(points)


def descend(
    weights: list[float], velocity: list[float], batch: list[Point], lr: float, momentum: float
) -> None:
    """One step on the batch's mean squared error, in place."""
    gradient = [WEIGHT_DECAY * weight for weight in weights]
    for features, y in batch:
        slope = 2.0 * (predict(weights, features) - y) / len(batch)
        for index, feature in enumerate(features):
            gradient[index] += slope * feature
    for index, slope in enumerate(gradient):
        velocity[index] = momentum * velocity[index] - lr * slope
        weights[index] += velocity[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="cos")
    parser.add_argument("--epochs", type=int, default=30)
    flags = parser.parse_args()

    points = make_points(N_TRAIN + N_VALIDATION, make_features(flags.features, flags.activation))
    train, validation = points[:N_TRAIN], points[N_TRAIN:]
    weights = [0.0] * flags.features
    velocity = [0.0] * flags.features
    shuffle = random.Random(DATA_SEED + 2).shuffle
    for epoch in range(1, flags.epochs + 1):
        shuffle(train)
        for start in range(0, N_TRAIN, BATCH_SIZE):
            descend(weights, velocity, train[start : start + BATCH_SIZE], flags.lr, flags.momentum)
        print(f"epoch={epoch} loss={mean_squared_error(weights, validation):.6f}", flush=True)


if __name__ == "__main__":
    main()
