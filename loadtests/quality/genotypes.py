"""What DARTS' search is worth: the genotypes that it finds against random ones of the same space.

    make bench-darts

Searches, draws genotypes at random, trains all of them anew with the same budget, and writes
docs/benchmarks/darts.md and its plot; the searches on a proxy are in genotype_proxies.py. What
loadtests/results/darts.jsonl and darts-proxies.jsonl hold is not run again.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

# One thread, so that CPU seconds are those of one core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from loadtests.quality import genotype_proxies as proxies
from loadtests.quality.genotype_proxy_report import duels_of, proxy_section
from loadtests.quality.genotype_records import PRIMITIVES, REPOSITORY, Kept, Record
from loadtests.quality.genotype_report import Earnest, Training, write_report
from networks.bilevel import Search, SearchSettings
from networks.cell_networks import GenotypeNetwork, Shape, Supernet
from networks.genotypes import parse_genotype, random_genotype
from networks.images import CLASSES, Images, load_images
from networks.training import accuracy, train

RESULTS = REPOSITORY / "loadtests/results/darts.jsonl"
# The settings that examples/nas/darts.yaml had with the digits.
SHAPE = Shape(layers=3, nodes=2, channels=4, stem_multiplier=2, inputs=1, classes=CLASSES)
SETTINGS = SearchSettings(
    num_epochs=10,
    w_lr=0.1,
    w_lr_min=0.001,
    w_momentum=0.9,
    w_weight_decay=3e-4,
    w_grad_clip=5.0,
    alpha_lr=0.01,
    alpha_weight_decay=1e-3,
    batch_size=64,
    order=1,
)
SEARCHES = range(1, 6)
RANDOM_GENOTYPES = range(30)
TRAINING_SEEDS = range(100, 103)
# Of a genotype: few images and epochs, so that what the architecture is worth shows.
TRAINED_IMAGES, EPOCHS, BATCH, RATE = 400, 6, 32, 0.01
# In earnest: twice the channels and about ten times as long, once for each genotype.
LONG_SHAPE, LONG_EPOCHS = replace(SHAPE, channels=8), 40
LONG_RANDOM_GENOTYPES, LONG_SEED = range(12), 200


def search(kept: Kept, data: Images, seed: int) -> Record:
    """One search, as a trial of examples/nas/darts.yaml did it with the digits."""
    known = kept.find(kind="search", name="darts", seed=seed)
    if known is not None:
        return known
    began = time.process_time()
    rng = np.random.default_rng(seed)
    half = len(data.train_labels) // 2
    training = data.train_images[:half], data.train_labels[:half]
    validation = data.train_images[half:], data.train_labels[half:]
    network = Supernet(PRIMITIVES, SHAPE, rng)
    searching = Search(network, training, validation, SETTINGS, rng)
    best, genotype = -1.0, ""
    for epoch in range(SETTINGS.num_epochs):
        for _ in searching.epoch(epoch):
            pass
        share = accuracy(network, *validation)
        if share > best:
            best, genotype = share, network.genotype.text
    return kept.add(
        {
            "kind": "search",
            "name": "darts",
            "seed": seed,
            "genotype": genotype,
            "supernet": round(best, 4),
            "cpu_s": round(time.process_time() - began, 2),
        }
    )


def train_anew(
    kept: Kept, data: Images, name: str, genotype: str, seed: int, *, is_long: bool = False
) -> Record:
    """selection: on the training images that it was not trained with; test: on those that nobody
    has seen."""
    kind, epochs = ("long", LONG_EPOCHS) if is_long else ("training", EPOCHS)
    known = kept.find(kind=kind, name=name, seed=seed)
    if known is not None:
        return known
    began = time.process_time()
    rng = np.random.default_rng(seed)
    network = GenotypeNetwork(parse_genotype(genotype), LONG_SHAPE if is_long else SHAPE, rng)
    held_out = data.train_images[TRAINED_IMAGES:], data.train_labels[TRAINED_IMAGES:]
    some = Images(
        train_images=data.train_images[:TRAINED_IMAGES],
        train_labels=data.train_labels[:TRAINED_IMAGES],
        # Measured once, after the last epoch: after each it would make random search dearer.
        validation_images=held_out[0][:1],
        validation_labels=held_out[1][:1],
    )
    for _ in train(network, some, rng, epochs=epochs, batch_size=BATCH, rate=RATE):
        pass
    selection = accuracy(network, *held_out)
    cpu_s = time.process_time() - began
    return kept.add(
        {
            "kind": kind,
            "name": name,
            "seed": seed,
            "genotype": genotype,
            "weights": sum(it.value.size for it in network.parameters),
            "selection": round(selection, 4),
            "test": round(accuracy(network, data.validation_images, data.validation_labels), 4),
            "cpu_s": round(cpu_s, 2),
        }
    )


def genotypes(kept: Kept, data: Images) -> Iterator[tuple[str, str]]:
    """(name, text) of each that is to be trained: found ones first."""
    for seed in SEARCHES:
        yield f"darts {seed}", search(kept, data, seed)["genotype"]
    for number in RANDOM_GENOTYPES:
        rng = np.random.default_rng(number)
        yield f"random {number}", random_genotype(PRIMITIVES, SHAPE.nodes, rng).text


def in_earnest(kept: Kept, data: Images) -> Earnest:
    """Found and random genotypes, each trained for long."""

    def trained(name: str, text: str, *, is_long: bool) -> Training:
        record = train_anew(kept, data, name, text, LONG_SEED, is_long=is_long)
        print(f"{name}, {'long' if is_long else 'short'}: {record['test']:.4f}", flush=True)
        return Training.of(name, [record])

    drawn = [
        (name, text)
        for name, text in genotypes(kept, data)
        if name in {f"random {number}" for number in LONG_RANDOM_GENOTYPES}
    ]
    return Earnest(
        found=[
            trained(f"darts {it}", search(kept, data, it)["genotype"], is_long=True)
            for it in SEARCHES
        ],
        randoms=[trained(name, text, is_long=True) for name, text in drawn],
        shorts=[trained(name, text, is_long=False) for name, text in drawn],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--proxy-results", type=Path, default=proxies.RESULTS)
    parser.add_argument("--report", action="store_true", help="nothing new is run on proxies")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs/benchmarks/darts.md")
    flags = parser.parse_args()
    kept, data = Kept(flags.results), load_images()
    trainings = []
    for name, text in genotypes(kept, data):
        records = [train_anew(kept, data, name, text, seed) for seed in TRAINING_SEEDS]
        trainings.append(Training.of(name, records))
        print(f"{name}: {trainings[-1].test:.4f}", flush=True)
    searches = [search(kept, data, seed) for seed in SEARCHES]
    cpu_s = [float(it["cpu_s"]) for it in searches]
    of_proxies = Kept(flags.proxy_results)
    if not flags.report:
        proxies.run_proxies(of_proxies)
    write_report(flags.page, trainings, in_earnest(kept, data), cpu_s, _sections(of_proxies))


def _sections(of_proxies: Kept) -> list[str]:
    lines = []
    for title, name, seeds in (
        ("Search on a proxy, longer final training", "proxies", proxies.SEEDS),
        ("Search on a proxy, final trainings of equal time", "timed", proxies.TIMED_SEEDS),
        ("The same again, on new images", "confirming", proxies.CONFIRMING_SEEDS),
    ):
        duels = duels_of(of_proxies, seeds)
        lines += [f"## {title}", "", *proxy_section(of_proxies, duels, name), ""]
    return lines


if __name__ == "__main__":
    main()
