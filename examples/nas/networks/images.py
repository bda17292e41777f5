"""The data: scikit-learn's 1,797 handwritten digits, as images of whatever size a network takes."""

import gzip
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networks.gradients import Array, Labels

CLASSES = 10
GREY_LEVELS = 16.0
SIDE = 8
# Which images are for validation is the same in every trial, or they could not be compared.
SPLIT_SEED = 0
VALIDATION_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """images: (count, height, width, channels), float32, mean 0 and deviation 1 over the training
    images; labels: (count,), 0 to 9."""

    train_images: Array
    train_labels: Labels
    validation_images: Array
    validation_labels: Labels


def load_images(
    height: int = SIDE,
    width: int = SIDE,
    channels: int = 1,
    *,
    train: int | None = None,
    validation: int | None = None,
) -> Images:
    """Split in three quarters to train and one to validate, or as many of each as asked for.

    The images are stretched to the size (linear interpolation); all channels are the same.
    """
    pixels, labels = _read()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    held = round(VALIDATION_SHARE * len(labels))
    validation_rows, train_rows = order[:held][:validation], order[held:][:train]
    mean, deviation = pixels[train_rows].mean(), pixels[train_rows].std()
    pixels = (pixels - mean) / deviation

    def images(rows: Labels) -> Array:
        stretched = _stretch(height) @ pixels[rows] @ _stretch(width).T
        return np.repeat(stretched[..., None], channels, axis=3).astype(np.float32)

    return Images(
        train_images=images(train_rows),
        train_labels=labels[train_rows],
        validation_images=images(validation_rows),
        validation_labels=labels[validation_rows],
    )


def _read() -> tuple[Array, Labels]:
    """Images (count, 8, 8) in [0, 1], and labels. From the package's folder: importing
    scikit-learn would take a second."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the digits come with scikit-learn: pip install scikit-learn")
    path = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode().replace("\n", ",").rstrip(",")
    table = np.array(text.split(","), dtype=float).reshape(-1, SIDE * SIDE + 1)
    return table[:, :-1].reshape(-1, SIDE, SIDE) / GREY_LEVELS, table[:, -1].astype(int)


def _stretch(size: int) -> Array:
    """(size, 8): each row says what a new pixel is made of, by where its centre lies."""
    centres = np.clip((np.arange(size) + 0.5) * SIDE / size - 0.5, 0, SIDE - 1)
    distance = np.abs(centres[:, None] - np.arange(SIDE)[None, :])
    weights: Array = np.maximum(1 - distance, 0)
    return weights
