"""The handwritten digits that scikit-learn ships, split and standardised.

1,797 images of 8 x 8 pixels with values from 0 to 16 (Alpaydin & Kaynak 1998). The file is read
out of scikit-learn's folder without importing the package, which would cost about a second;
container images carry that file alone.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

N_CLASSES = 10
N_PIXELS = 64
VALIDATION_SHARE = 0.2
# Fixed, so that all trials of all experiments are judged on the same images.
SPLIT_SEED = 20260101
# One grey level of 16: a pixel that is almost always black must not blow up where it is not.
SMALLEST_DEVIATION = 1.0


class DigitsMissingError(Exception):
    """The data set is not on this machine; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images: (n_images, 64) standardised with the training images' statistics; labels: 0 to 9."""

    train_images: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    validation_images: NDArray[np.float64]
    validation_labels: NDArray[np.int64]


def load_digits() -> Digits:
    """Read, split and standardise the data set. Raises DigitsMissingError."""
    path = digits_path()
    try:
        table = np.loadtxt(path, delimiter=",")
    except (OSError, ValueError) as error:
        raise DigitsMissingError(f"cannot read the digits data set {path}: {error}") from error
    if table.ndim != 2 or table.shape[1] != N_PIXELS + 1:
        raise DigitsMissingError(f"{path} is not the digits data set: its shape is {table.shape}")
    images, labels = table[:, :N_PIXELS], table[:, N_PIXELS].astype(np.int64)
    train, validation = stratified_split(labels)
    mean = images[train].mean(axis=0)
    deviation = np.maximum(images[train].std(axis=0), SMALLEST_DEVIATION)
    standardised = (images - mean) / deviation
    return Digits(
        train_images=standardised[train],
        train_labels=labels[train],
        validation_images=standardised[validation],
        validation_labels=labels[validation],
    )


def stratified_split(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers to train and to validate on: disjoint, complete, the same share of each class."""
    rng = np.random.default_rng(SPLIT_SEED)
    train, validation = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        n_validation = round(VALIDATION_SHARE * len(rows))
        validation.append(rows[:n_validation])
        train.append(rows[n_validation:])
    return np.concatenate(train), np.concatenate(validation)


def digits_path() -> Path:
    """The file of this environment's own, or where scikit-learn keeps it. Raises
    DigitsMissingError."""
    alone = Path(sys.prefix, "share", "trialbus", "digits.csv.gz")
    if alone.is_file():
        return alone
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DigitsMissingError(
            "the digits data set comes with scikit-learn, which is not installed for this Python: "
            "pip install scikit-learn"
        )
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        raise DigitsMissingError(
            f"scikit-learn is installed, but its digits data set is not: {path}"
        )
    return path
