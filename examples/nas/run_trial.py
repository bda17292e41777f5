"""Stands for run_trial.py of Katib's image `darts-cnn-cifar10-cpu` on one machine.

The same flags and the same result, from a real search (Liu, Simonyan and Yang 2019) in NumPy on the
handwritten digits that scikit-learn ships, or on generated textures: one network that holds all
architectures is trained on one half of the images while its architecture learns on the other half.
"""

import argparse
import json
import os
import time
import zlib
from collections.abc import Mapping
from typing import Any

# Trials run side by side: a second thread would only take a core away from another one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from networks.bilevel import Search, SearchSettings
from networks.cell_networks import Shape, Supernet
from networks.images import CLASSES, Images, load_images
from networks.textures import TEXTURES, load_textures
from networks.training import accuracy

# `None` in Katib's settings: what the trial thinks best.
BATCH_SIZE = 64


def main() -> None:
    flags = parse()
    given, primitives = read(flags.algorithm_settings), read(flags.search_space)
    print(f">>> Algorithm settings\n{json.dumps(given, indent=2)}")
    print(f">>> All primitives\n{[*primitives, 'none']}\n>>> Seed {flags.seed}\n", flush=True)
    data, classes = images_of(flags)
    half = len(data.train_labels) // 2
    training = data.train_images[:half], data.train_labels[:half]
    validation = data.train_images[half:], data.train_labels[half:]
    rng = np.random.default_rng(flags.seed)
    network = Supernet(primitives, shape_of(given, flags.num_layers, classes), rng)
    settings = settings_of(given, flags.order, flags.warm_up)
    search = Search(network, training, validation, settings, rng)

    best, genotype = -1.0, ""
    for epoch in range(settings.num_epochs):
        began = time.monotonic()
        for it in search.epoch(epoch):
            if it.step % int(given["print_step"]) == 0 or it.step == it.steps:
                print(
                    f"Train: [{epoch + 1}/{settings.num_epochs}] step {it.step}/{it.steps} "
                    f"loss {it.loss:.3f}, {it.accuracy:.1%} right",
                    flush=True,
                )
        share = accuracy(network, *validation)
        if share > best:
            best, genotype = share, network.genotype.text
        print(f"Validation: {share:.4%} right after {time.monotonic() - began:.1f} s")
        print(f"Validation-Accuracy={share:.4f}")
        print(f"Best-Genotype={genotype}\n", flush=True)
    print(f"Final best Prec@1 = {best:.4%}")
    print(f"\nBest-Genotype={genotype}")


def read(text: str) -> Any:
    """JSON with ' for ", and with the quotes around it that Katib's template puts there."""
    return json.loads(text.strip().strip('"').replace("'", '"'))


def images_of(flags: argparse.Namespace) -> tuple[Images, int]:
    """And the number of their classes."""
    if flags.images == "textures":
        return load_textures(flags.side, train=flags.num_images), TEXTURES
    return load_images(flags.side, flags.side, train=flags.num_images), CLASSES


def shape_of(given: Mapping[str, Any], layers: int, classes: int) -> Shape:
    return Shape(
        layers=layers,
        nodes=int(given["num_nodes"]),
        channels=int(given["init_channels"]),
        stem_multiplier=int(given["stem_multiplier"]),
        inputs=1,
        classes=classes,
    )


def settings_of(given: Mapping[str, Any], order: int, warm_up: int) -> SearchSettings:
    names = ("w_lr", "w_lr_min", "w_momentum", "w_weight_decay", "w_grad_clip")
    numbers = {name: float(given[name]) for name in (*names, "alpha_lr", "alpha_weight_decay")}
    return SearchSettings(
        num_epochs=int(given["num_epochs"]),
        batch_size=int(given["batch_size"] or BATCH_SIZE),
        order=order,
        warm_up=warm_up,
        **numbers,
    )


def seed_of(trial: str) -> int:
    """Every trial of an experiment is given the same search, so its name makes the difference."""
    return zlib.crc32(trial.encode())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm-settings", required=True)
    parser.add_argument("--search-space", required=True, help="names of operations")
    parser.add_argument("--num-layers", required=True, type=lambda it: int(it.strip('"')))
    parser.add_argument("--order", type=int, default=2, choices=(1, 2), help="of the gradient")
    parser.add_argument(
        "--warm-up", type=int, default=0, help="epochs before the architecture learns too"
    )
    parser.add_argument("--images", default="digits", choices=("digits", "textures"))
    parser.add_argument("--side", type=int, default=8, help="of the images, in pixels")
    parser.add_argument(
        "--num_images", type=int, help="for both halves; by default 1348 digits, 1280 textures"
    )
    name = os.environ.get("KATIB_TRIAL_NAME", "")
    parser.add_argument("--trial", default=name, help="its name, of which the seed is made")
    parser.add_argument("--seed", type=int)
    flags = parser.parse_args()
    flags.seed = seed_of(flags.trial) if flags.seed is None else flags.seed
    return flags


if __name__ == "__main__":
    main()
