"""python -m loadtests.load.plots RUNS_FILE SVG_FILE, in the environment that has matplotlib: how
the last run of a file of JSON lines went."""

import io
import re
import sys
from pathlib import Path

import matplotlib as mpl

from loadtests.load.results import LATENCY, Run

mpl.use("svg")
from matplotlib import pyplot

# Distinct for most colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
# Not within a word or a colour, nor a version.
_LONG = re.compile(r"(?<![\w.#])-?\d+\.\d{2,}(?![\w.])")


def draw(run: Run, path: Path) -> None:
    # Text as text, and the same ids every time: small files with readable differences.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "load", "font.size": 8})
    figure, axes = pyplot.subplots(len(run.curves), 1, figsize=(8, 9), sharex=True)
    for axis, (plot, named) in zip(axes, run.curves.items(), strict=True):
        axis.set_prop_cycle(color=COLOURS)
        for number, (name, curve) in enumerate(named.items()):
            points = [(x, y) for x, y in curve if y is not None]
            style = "-" if number < len(COLOURS) else "--"
            axis.plot([x for x, _ in points], [y for _, y in points], style, label=name, lw=1)
        if plot == LATENCY:
            axis.set_yscale("log")
        axis.set_ylabel(plot)
        axis.grid(color="#dddddd", lw=0.5)
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes[0].set_title(f"{run.scenario}, {run.at[:10]}", loc="left")
    axes[-1].set_xlabel("seconds")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None})
    path.write_text(shortened(drawn.getvalue()))


def shortened(svg: str) -> str:
    """A tenth of a point is finer than a screen."""
    lines = (line.rstrip() for line in _LONG.sub(_rounded, svg).splitlines())
    return "\n".join(lines) + "\n"


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}"


def main() -> int:
    runs, target = sys.argv[1:]
    lines = Path(runs).read_text().splitlines()
    draw(Run.read(lines[-1]), Path(target))
    return 0


if __name__ == "__main__":
    sys.exit(main())
