"""Stands for /opt/pytorch-mnist/mnist.py of Katib's image `pytorch-mnist-cpu` on one machine.

The same flags and the same metrics, `loss` and `accuracy`, from a small network in numpy on the
handwritten digits that scikit-learn ships: a trial takes half a second instead of minutes.

--logger=standard prints `name=value` lines while it trains. --logger=hypertune writes after each
epoch what the package of that name writes: JSON lines, values as text, into the file --log-path.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

# The matrices are tiny: a second thread only takes a core away from the trial beside this one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

N_HIDDEN = 32
N_CLASSES = 10
# Every fifth image is for testing.
TEST_EVERY = 5
GREY_LEVELS = 16.0

Weights = list[np.ndarray]


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images of 8 x 8 pixels in [0, 1] and their labels. Read from the package's folder:
    importing it would take a second."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("mnist.py: the digits come with scikit-learn: pip install scikit-learn")
    folder = Path(spec.submodule_search_locations[0])
    table = np.loadtxt(folder / "datasets/data/digits.csv.gz", delimiter=",")
    return table[:, :-1] / GREY_LEVELS, table[:, -1].astype(int)


def first_weights(n_pixels: int, rng: np.random.Generator) -> Weights:
    """Matrix and bias of the hidden layer and of the output (He et al. 2015)."""
    return [
        rng.normal(0.0, np.sqrt(2.0 / n_pixels), (n_pixels, N_HIDDEN)),
        np.zeros(N_HIDDEN),
        rng.normal(0.0, np.sqrt(2.0 / N_HIDDEN), (N_HIDDEN, N_CLASSES)),
        np.zeros(N_CLASSES),
    ]


def forward(weights: Weights, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer, and the logarithm of each class's probability."""
    hidden = np.maximum(images @ weights[0] + weights[1], 0.0)
    scores = hidden @ weights[2] + weights[3]
    scores -= scores.max(axis=1, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def gradient(weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Of the batch's mean negative log likelihood."""
    hidden, log_p = forward(weights, images)
    delta = np.exp(log_p)
    delta[np.arange(len(labels)), labels] -= 1.0
    delta /= len(labels)
    below = (delta @ weights[2].T) * (hidden > 0.0)
    return [images.T @ below, below.sum(axis=0), hidden.T @ delta, delta.sum(axis=0)]


def measure(weights: Weights, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    _, log_p = forward(weights, images)
    return {
        "accuracy": float(np.mean(log_p.argmax(axis=1) == labels)),
        "loss": float(-np.mean(log_p[np.arange(len(labels)), labels])),
    }


def write_hypertune(path: Path, epoch: int, metrics: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for name, value in metrics.items():
            line = {
                "timestamp": time.time(),
                "trial": "0",
                name: f"{value:.4f}",
                "global_step": str(epoch),
            }
            file.write(json.dumps(line) + "\n")


def train(flags: argparse.Namespace) -> None:
    images, labels = load_digits()
    test = np.arange(len(labels)) % TEST_EVERY == 0
    train_images, train_labels = images[~test], labels[~test]
    test_images, test_labels = images[test], labels[test]
    rng = np.random.default_rng(flags.seed)
    weights = first_weights(images.shape[1], rng)
    velocities = [np.zeros_like(each) for each in weights]
    n_images = len(train_labels)
    for epoch in range(1, flags.epochs + 1):
        order = rng.permutation(n_images)
        for batch, start in enumerate(range(0, n_images, flags.batch_size)):
            rows = order[start : start + flags.batch_size]
            slopes = gradient(weights, train_images[rows], train_labels[rows])
            for i, slope in enumerate(slopes):
                velocities[i] = flags.momentum * velocities[i] - flags.lr * slope
                weights[i] += velocities[i]
            if flags.logger == "standard" and batch % flags.log_interval == 0:
                loss = measure(weights, test_images, test_labels)["loss"]
                done = f"[{start + len(rows)}/{n_images}]"
                print(f"Train Epoch: {epoch} {done}\tloss={loss:.4f}", flush=True)
        metrics = measure(weights, test_images, test_labels)
        if flags.logger == "hypertune":
            write_hypertune(Path(flags.log_path), epoch, metrics)
        else:
            print(" ".join(f"{name}={value:.4f}" for name, value in metrics.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--test-batch-size", type=int, default=1000, help="not used here")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.5)
    parser.add_argument("--no-cuda", action="store_true", help="not used here")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=10, help="batches between two lines")
    parser.add_argument("--log-path", default="", help="file of --logger=hypertune")
    parser.add_argument("--logger", choices=["standard", "hypertune"], default="standard")
    flags = parser.parse_args()
    if flags.logger == "hypertune" and not flags.log_path:
        parser.error("--logger=hypertune needs --log-path")
    # A rate that makes the weights overflow is a bad point, not a bug: its loss says so.
    with np.errstate(all="ignore"):
        train(flags)


if __name__ == "__main__":
    main()
