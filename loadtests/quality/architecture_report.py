"""The page docs/benchmarks/enas.md and its plots."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from loadtests.quality.plots import line_plot

# Of the mean over neighbours, in the plot of single proposals.
WINDOW = 5
CHECKPOINTS = (10, 20, 30, 40, 50, 60)
# Seconds of the plot by CPU time.
GRID = 40
BOOTSTRAPS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """accuracies, cpu_s: of the trials, in their order. own_s: of the algorithm, for all."""

    accuracies: tuple[float, ...]
    cpu_s: tuple[float, ...]
    own_s: float

    @property
    def seconds(self) -> np.ndarray:
        """Used by the end of each trial, the algorithm's own among them."""
        share = self.own_s / len(self.cpu_s)
        return np.cumsum(np.array(self.cpu_s) + share)

    def best_by(self, seconds: float) -> float:
        """0: no trial has ended by then."""
        count = int(np.searchsorted(self.seconds, seconds, side="right"))
        return max(self.accuracies[:count], default=0.0)


def write_report(
    page: Path, everything: Sequence[float], enas: Sequence[Run], random: Sequence[Run]
) -> None:
    """everything: the accuracies of all architectures, the best first."""
    trials = len(enas[0].accuracies)
    budget = float(np.mean([run.seconds[-1] for run in enas]))
    page.parent.mkdir(parents=True, exist_ok=True)
    _plot_trials(page.with_name("enas-trials.svg"), enas, random, trials)
    _plot_seconds(page.with_name("enas-seconds.svg"), enas, random, budget)
    page.write_text(
        HEAD.format(
            count=len(everything),
            best=everything[0],
            median=float(np.median(everything)),
            mean=float(np.mean(everything)),
            trials=trials,
            last_seed=len(enas) - 1,
            random_seeds=len(random),
            own_s=np.mean([run.own_s for run in enas]) / trials,
            train_s=np.mean([np.mean(run.cpu_s) for run in random]),
            enas_train_s=np.mean([np.mean(run.cpu_s) for run in enas]),
            budget=budget,
        )
        + "\n".join([*_table(everything, enas, random, trials), "", *_equal(enas, random, budget)])
        + _versions()
    )


def _table(
    everything: Sequence[float], enas: Sequence[Run], random: Sequence[Run], trials: int
) -> list[str]:
    rows = [
        "| after trials | best: enas | best: random | difference | rank of enas' best "
        "| last ten: enas | last ten: random |",
        "|---|---|---|---|---|---|---|",
    ]
    ranks = np.array(everything)
    for count in (it for it in CHECKPOINTS if it <= trials):
        ours, theirs = (_bests(runs, count) for runs in (enas, random))
        rank = np.median([np.sum(ranks > best) + 1 for best in ours])
        recent = [
            np.mean([run.accuracies[count - 10 : count] for run in it]) for it in (enas, random)
        ]
        low, high = _interval(ours, theirs)
        rows.append(
            f"| {count} | {ours.mean():.4f} | {theirs.mean():.4f} "
            f"| {ours.mean() - theirs.mean():+.4f} ({low:+.4f} to {high:+.4f}) | {rank:.0f} "
            f"| {recent[0]:.3f} | {recent[1]:.3f} |"
        )
    return rows


def _equal(enas: Sequence[Run], random: Sequence[Run], budget: float) -> list[str]:
    rows = [
        "| CPU seconds | best: enas | best: random | difference |",
        "|---|---|---|---|",
    ]
    for share in (0.25, 0.5, 0.75, 1.0):
        seconds = share * budget
        ours, theirs = (np.array([run.best_by(seconds) for run in it]) for it in (enas, random))
        low, high = _interval(ours, theirs)
        rows.append(
            f"| {seconds:.0f} | {ours.mean():.4f} | {theirs.mean():.4f} "
            f"| {ours.mean() - theirs.mean():+.4f} ({low:+.4f} to {high:+.4f}) |"
        )
    return rows


def _bests(runs: Sequence[Run], count: int) -> np.ndarray:
    return np.array([max(run.accuracies[:count]) for run in runs])


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """95 %, of the difference of means, with the seeds drawn anew."""
    rng = np.random.default_rng(0)
    means = [rng.choice(it, (BOOTSTRAPS, len(it))).mean(axis=1) for it in (ours, theirs)]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)


def _plot_trials(path: Path, enas: Sequence[Run], random: Sequence[Run], trials: int) -> None:
    curves = {}
    for name, runs in (("enas", enas), ("random", random)):
        errors = 1 - np.array([run.accuracies[:trials] for run in runs])
        best = np.minimum.accumulate(errors, axis=1).mean(axis=0)
        smooth = np.convolve(errors.mean(axis=0), np.ones(WINDOW) / WINDOW, mode="valid")
        curves[f"{name}: best so far"] = list(enumerate(best.tolist(), start=1))
        curves[f"{name}: proposals"] = list(enumerate(smooth.tolist(), start=WINDOW))
    path.write_text(line_plot("Validation error by trials", "trials", curves))


def _plot_seconds(path: Path, enas: Sequence[Run], random: Sequence[Run], budget: float) -> None:
    grid = np.linspace(budget / GRID, budget, GRID)
    curves = {
        name: [(float(at), float(1 - np.mean([run.best_by(at) for run in runs]))) for at in grid]
        for name, runs in (("enas", enas), ("random", random))
    }
    path.write_text(line_plot("Validation error of the best by CPU time", "CPU seconds", curves))


def _versions() -> str:
    return (
        "\n\nThe CPU seconds of a trial are those of its first epoch, on one core with one thread, "
        "times six. "
        f"Python {platform.python_version()}, numpy {version('numpy')}, "
        f"scikit-learn {version('scikit-learn')} (its digits).\n"
    )


HEAD = """# ENAS against random architectures

Made by `python -m loadtests.quality.architectures`.

The space is that of [examples/nas/enas.yaml](../../examples/nas/enas.yaml): {count} networks of
three layers, five operations and skip connections. Each was trained once, for real, as a trial of
that file trains it ([enas.jsonl](../../loadtests/results/enas.jsonl): validation accuracy and CPU
seconds); searches look their results up there, so that they repeat in a few minutes. The best
network reaches {best:.4f}, half of them no more than {median:.4f}, the mean is {mean:.4f}.

`enas` has the example's settings, {trials} trials, two at a time, and the seeds 0 to {last_seed}.
`random` draws architectures without repetition, all equally likely, with {random_seeds} seeds. In
brackets: the 95 % interval of the difference of means, with the seeds drawn anew. *Last ten* is the
mean accuracy of the ten newest proposals: what the controller has learned. *Rank* is the median
over seeds of where its best stands among all.

A trial takes {train_s:.2f} CPU seconds at random and {enas_train_s:.2f} with `enas`, which comes
to prefer larger networks; the controller itself takes {own_s:.2f}. The second table and plot
compare at equal CPU seconds, the controller's included, where random search has more trials.

![Validation error by trials](enas-trials.svg)

![Validation error of the best by CPU time](enas-seconds.svg)

"""
