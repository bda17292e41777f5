"""How a run went over time, thinned out to what a plot shows."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from loadtests.load.estimates import thinned
from loadtests.load.results import BUS, LATENCY, MEMORY, RATE, Curve
from loadtests.load.sampling import Sample
from loadtests.load.windows import Window, merged
from trialbus.runtime import metrics

MAX_POINTS = 90
# Of the names with most calls: more curves cannot be told apart.
MAX_NAMES = 7


def curves(windows: Sequence[Window], samples: Sequence[Sample]) -> dict[str, dict[str, Curve]]:
    """By plot, then by name."""
    counts = {name: cell.count for name, cell in merged(windows).items()}
    names = sorted(counts, key=lambda name: -counts[name])[:MAX_NAMES]
    parts = _joined(windows)
    lengths = _lengths(parts)
    processes = sorted({name for it in samples for name in it.usage})
    lag = [(it.at, it.lag) for it in samples if not math.isnan(it.lag)]
    outbox = [
        (it.at, it.sums[metrics.OUTBOX_EVENTS.name])
        for it in samples
        if metrics.OUTBOX_EVENTS.name in it.sums
    ]
    found: dict[str, Mapping[str, Curve]] = {
        LATENCY: {
            name: [(it.at, it.cells[name].quantile_s(0.99)) for it in parts if name in it.cells]
            for name in names
        },
        RATE: {
            name: [
                (it.at, it.cells[name].count / length if name in it.cells else 0.0)
                for it, length in zip(parts, lengths, strict=True)
            ]
            for name in names
        },
        MEMORY: {
            name: [(it.at, it.usage[name].own_mb) for it in samples if name in it.usage]
            for name in processes
        },
        BUS: {"waiting messages (lag)": lag, "waiting events (outbox)": outbox},
    }
    return {
        plot: {name: thinned(curve, MAX_POINTS) for name, curve in named.items()}
        for plot, named in found.items()
    }


def _joined(windows: Sequence[Window]) -> list[Window]:
    """Neighbours together, so that no call is left out of the plot."""
    size = max(1, math.ceil(len(windows) / MAX_POINTS))
    groups = [windows[i : i + size] for i in range(0, len(windows), size)]
    return [Window(group[-1].at, merged(group)) for group in groups]


def _lengths(windows: Sequence[Window]) -> list[float]:
    ends = [0.0, *(it.at for it in windows)]
    return [max(after - before, 1e-3) for before, after in pairwise(ends)]
