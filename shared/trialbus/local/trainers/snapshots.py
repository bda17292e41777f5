"""What a training can go on from, kept as one file in a folder."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trialbus.local.trainers.flags import Settings
from trialbus.local.trainers.optimizers import Vector

FILE_NAME = "digits.npz"
_MEMORY = "memory."


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """epochs: how many have been trained. layers, descent: of which settings. weights: all layers
    in one vector; memory: the optimizer's. rng: state of the order of batches."""

    epochs: int
    layers: str
    weights: Vector
    descent: str
    memory: Mapping[str, Vector]
    rng: Any


def layers(settings: Settings) -> str:
    """Networks of the same layers can go on from each other."""
    return f"{settings.num_layers} of {settings.hidden}"


def descent(settings: Settings) -> str:
    """What an optimizer has gathered is of use to the same optimizer only."""
    return f"{settings.optimizer} {settings.lr} {settings.momentum}"


def save(folder: Path, snapshot: Snapshot) -> None:
    """All or nothing. OSError: the disk is full, for instance."""
    about = {
        "epochs": snapshot.epochs,
        "layers": snapshot.layers,
        "descent": snapshot.descent,
        "rng": snapshot.rng,
    }
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), "weights": snapshot.weights}
    arrays |= {f"{_MEMORY}{name}": numbers for name, numbers in snapshot.memory.items()}
    partial = folder / f"{FILE_NAME}.partial"
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(folder / FILE_NAME)


def load(folder: Path, settings: Settings) -> Snapshot:
    """ValueError: there is none for a network of these layers, and why."""
    path = folder / FILE_NAME
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"no checkpoint in {os.fspath(folder)}: {error}") from error
    if "about" not in arrays:
        raise ValueError(f"{os.fspath(path)} is not of this program")
    about = json.loads(str(arrays["about"]))
    if about["layers"] != layers(settings):
        raise ValueError(f"the checkpoint's layers are {about['layers']}, not {layers(settings)}")
    prefix = len(_MEMORY)
    memory = {name[prefix:]: it for name, it in arrays.items() if name.startswith(_MEMORY)}
    return Snapshot(weights=arrays["weights"], memory=memory, **about)
