"""What ENAS' controller is worth: the architectures that it proposes against random ones.

    python -m loadtests.quality.architectures

The space is that of examples/nas/enas.yaml. All its architectures were trained once, for real, as
the trials of that file train theirs; loadtests/results/enas.jsonl holds what they came to, and what
it lacks is trained first (half a second each). The searches run on that table, in a few minutes,
and write docs/benchmarks/enas.md and its plots.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

# One thread, so that CPU seconds are those of one core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml

from loadtests.quality.architecture_report import Run, write_report
from trialbus.contracts.katib.models import NasConfig
from trialbus.contracts.katib.nas_rules import kernel_nas
from trialbus.kernel import spec as kernel
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.enas import EnasSearch
from trialbus_suggestion.core.enas_architectures import ArchitectureSpace
from trialbus_suggestion.core.enas_checks import VALUES
from trialbus_suggestion.core.seeds import request_seed

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples/nas/enas.yaml"
RESULTS = REPOSITORY / "loadtests/results/enas.jsonl"
SEEDS = range(40)
TRIALS = 60
IN_FLIGHT = 2
# Random search is cheap to repeat on a table: its mean should not be a matter of luck.
RANDOM_SEEDS = range(200)
RANDOM_TRIALS = 4 * TRIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a trial came to: validation accuracy, and seconds of one core: those of its first epoch
    times the epochs."""

    accuracy: float
    cpu_s: float


Table = Mapping[str, Trained]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The experiment, as far as it matters here. flags: of its trials' command."""

    nas: kernel.NasConfig
    algorithm: kernel.AlgorithmSpec
    flags: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Example":
        spec: dict[str, Any] = yaml.safe_load(path.read_text())["spec"]
        nas = kernel_nas(NasConfig.model_validate(spec["nasConfig"]))
        if nas is None:
            raise ValueError(f"{path} is no architecture search")
        given = spec["algorithm"]
        settings = tuple((it["name"], it["value"]) for it in given["algorithmSettings"])
        pod = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
        command = [it.partition("=") for it in pod["containers"][0]["command"]]
        return cls(
            nas=nas,
            algorithm=kernel.AlgorithmSpec(name=given["algorithmName"], settings=settings),
            flags={name.lstrip("-"): value for name, sign, value in command if sign},
        )


def trained(example: Example, path: Path) -> Table:
    """By the text of the architecture: all of the space. What is missing is trained now."""
    space = ArchitectureSpace.of(example.nas)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    known = {text: Trained(accuracy=a, cpu_s=s) for text, a, s in map(json.loads, lines)}
    for index in range(space.cardinality()):
        texts = space.texts(space.at(index))
        architecture = texts["architecture"]
        if architecture not in known:
            result = train_one(texts, example.flags)
            known[architecture] = result
            with path.open("a") as file:
                file.write(json.dumps([architecture, result.accuracy, result.cpu_s]) + "\n")
    return known


def train_one(texts: Mapping[str, str], flags: Mapping[str, str]) -> Trained:
    """As examples/nas/RunTrial.py does it."""
    sys.path.insert(0, str(EXAMPLE.parent))
    import numpy as np  # noqa: PLC0415 - not for searches on the table

    from networks.architectures import ArchitectureNetwork, read  # noqa: PLC0415
    from networks.images import load_images  # noqa: PLC0415
    from networks.training import train  # noqa: PLC0415

    sys.path.pop(0)
    architecture, config = read(texts["architecture"], texts["nn_config"])
    data = load_images(*config["input_sizes"], train=int(flags["num_images"]))
    epochs = int(flags["num_epochs"])
    rng = np.random.default_rng(1)
    network = ArchitectureNetwork(architecture, config, rng)
    training = train(
        network,
        data,
        rng,
        epochs=epochs,
        batch_size=int(flags["batch_size"]),
        rate=float(flags["learning_rate"]),
    )
    began = time.process_time()
    first = next(training)
    cpu_s = round(epochs * (time.process_time() - began), 3)
    *_, last = (first, *training)
    return Trained(accuracy=round(last.validation_accuracy, 4), cpu_s=cpu_s)


def search(example: Example, table: Table, seed: int, trials: int = TRIALS) -> Run:
    """So many trials, two at a time, that end in the order in which they began."""
    study = Study(
        parameters=(),
        objective=ObjectiveType.MAXIMIZE,
        algorithm=example.algorithm,
        seed=seed,
        nas=example.nas,
        names=VALUES,
    )
    enas, own_s = EnasSearch(study), 0.0
    points: list[PointTexts] = []
    done: list[Trained] = []
    while len(done) < trials:
        began = time.process_time()
        request = ProposalRequest(
            number=len(points) + 1,
            first=len(points),
            count=1,
            watermark=len(done),
            seed=request_seed(seed, len(points) + 1),
        )
        points += enas.propose(request, Random(request.seed)).points
        if len(points) - len(done) == IN_FLIGHT:
            result = table[points[len(done)][0]]
            trial = FinishedTrial(
                number=len(done) + 1,
                index=len(done),
                point=points[len(done)],
                phase=TrialPhase.SUCCEEDED,
                value=result.accuracy,
            )
            done.append(result)
            enas.tell([trial])
        own_s += time.process_time() - began
    return run_of(done, own_s)


def random_searches(table: Table) -> Iterator[Run]:
    """Architectures drawn without repetition, all equally likely; more of them, to compare at
    equal seconds."""
    every = list(table.values())
    for seed in RANDOM_SEEDS:
        yield run_of(Random(seed).sample(every, RANDOM_TRIALS), 0.0)


def run_of(results: list[Trained], own_s: float) -> Run:
    return Run(
        accuracies=tuple(it.accuracy for it in results),
        cpu_s=tuple(it.cpu_s for it in results),
        own_s=own_s,
    )


def run(folder: Path) -> None:
    """Writes the page and its plots into the folder."""
    example = Example.read(EXAMPLE)
    table = trained(example, RESULTS)
    found = []
    for seed in SEEDS:
        found.append(search(example, table, seed))
        print(f"seed {seed}: {max(found[-1].accuracies):.4f}", flush=True)
    everything = sorted((it.accuracy for it in table.values()), reverse=True)
    write_report(folder / "enas.md", everything, found, list(random_searches(table)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "docs/benchmarks")
    run(parser.parse_args().folder)


if __name__ == "__main__":
    main()
