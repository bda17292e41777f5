"""Stands for RunTrial.py of Katib's image `enas-cnn-cifar10-cpu` on one machine.

The same flags and the same metrics, from a convolutional network in NumPy on the handwritten digits
that scikit-learn ships, stretched to the size that the experiment asks for: a trial takes seconds.
"""

import argparse
import os
import sys

# Trials run side by side: a second thread would only take a core away from another one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from networks.architectures import ArchitectureNetwork, read
from networks.images import CLASSES, load_images
from networks.training import train


def main() -> None:
    flags = parse()
    architecture, config = read(flags.architecture, flags.nn_config)
    sizes = [int(size) for size in config["input_sizes"]]
    if len(sizes) != 3 or int(config["output_sizes"][-1]) < CLASSES:
        sys.exit("RunTrial.py: the images are height, width, channels, and of 10 classes")
    data = load_images(*sizes, train=flags.num_images)
    rng = np.random.default_rng(flags.seed)
    network = ArchitectureNetwork(architecture, config, rng)
    print(f">>> {sum(it.value.size for it in network.parameters)} weights", flush=True)
    for epoch in train(
        network,
        data,
        rng,
        epochs=flags.num_epochs,
        batch_size=flags.batch_size,
        rate=flags.learning_rate,
    ):
        print(f"\nTotal Epoch {epoch.number}/{flags.num_epochs}")
        print(f"Training-Accuracy={epoch.training_accuracy:.4f}")
        print(f"Training-Loss={epoch.loss:.4f}")
        print(f"Validation-Accuracy={epoch.validation_accuracy:.4f}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", required=True, help="operation and skips of each layer")
    parser.add_argument("--nn_config", required=True, help="sizes, and what each operation is")
    parser.add_argument("--num_epochs", type=int, default=10)
    parser.add_argument("--num_gpus", type=int, default=0, help="not used here")
    parser.add_argument("--num_images", type=int, help="to train with; by default all, 1348")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
