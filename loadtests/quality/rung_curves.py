"""Learning curves of real training, made once: `python -m loadtests.quality.rung_curves`.

144 random configurations of scikit-learn's MLPClassifier learn its 1,797 handwritten digits for 81
epochs (`partial_fit`, so an epoch does not know how many follow); 60 % of the images are for
training. Kept is how many of the other 719 are recognised after each epoch. The optimum is narrow:
learning rates from 1e-5 to 1, one to three layers of 4 to 128 units. Takes about two CPU minutes.
"""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

FILE = Path(__file__).with_name("rung_curves.jsonl")
CONFIGURATIONS = 144
EPOCHS = 81
IMAGES = 719


def load() -> list[list[float]]:
    """By configuration and epoch (index 0 is the first): accuracy in [0, 1]."""
    lines = FILE.read_text().splitlines()
    return [[right / IMAGES for right in json.loads(line)["right"]] for line in lines]


def settings_of(number: int) -> dict[str, Any]:
    """Drawn by its number alone."""
    rng = Random(f"configuration {number}")
    return {
        "solver": rng.choice(["sgd", "adam"]),
        "learning_rate_init": 10 ** rng.uniform(-5, 0),
        "hidden_layer_sizes": (round(2 ** rng.uniform(2, 7)),) * rng.choice([1, 2, 3]),
        "alpha": 10 ** rng.uniform(-6, 0),
        "batch_size": rng.choice([16, 32, 64, 128, 256]),
        "momentum": rng.uniform(0, 0.99),
        "activation": rng.choice(["relu", "tanh", "logistic"]),
    }


def make() -> Iterator[str]:
    """A line of JSON for each configuration."""
    # One thread: the matrices are tiny. Imported here: only who makes curves needs them.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, test_size=IMAGES, random_state=0, stratify=labels)
    for number in range(CONFIGURATIONS):
        given = settings_of(number)
        record = {"settings": given, "right": trained(given, parts)}
        yield json.dumps(record, separators=(",", ":"))


def trained(settings: dict[str, Any], parts: Sequence[Any]) -> list[int]:
    """Images that are recognised after each epoch; one class is guessed for all once the weights
    have overflowed."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    training, others, training_labels, other_labels = parts
    network = MLPClassifier(random_state=0, **settings)
    right = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(EPOCHS):
            network.partial_fit(training, training_labels, classes=range(10))
            right.append(int((network.predict(others) == other_labels).sum()))
    return right


if __name__ == "__main__":
    FILE.write_text("\n".join(make()) + "\n")
