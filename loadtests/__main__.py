"""`python -m loadtests [--runs N] [--trials N] [SCENARIO ...]`: one table, figures with spread."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from loadtests import fairness, following, scenarios
from loadtests.figures import Figure, table
from loadtests.scenarios import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    unit: str
    value: float
    sense: Literal["at least", "at most"] = "at most"


# What the product promises on two cores.
LIMITS = {
    "command to first trial": Limit(unit="s", value=5.0),
    "last trial to end": Limit(unit="s", value=2.0),
    "apply to first trial": Limit(unit="s", value=0.5),
    "trials a second": Limit(unit="1/s", value=100, sense="at least"),
    "10,000th to 1,000th trial": Limit(unit="ratio", value=1.3),
    "metric points a second": Limit(unit="1/s", value=20_000, sense="at least"),
    "line to stored point, p99": Limit(unit="s", value=1.0),
    "memory of all processes (PSS)": Limit(unit="MB", value=700),
    "200 followers, gateway": Limit(unit="cores", value=0.5),
    "200 followers, gateway and nats-server": Limit(unit="cores", value=0.5),
    "free slot, random, p50": Limit(unit="s", value=0.01),
    "free slot, random, p99": Limit(unit="s", value=0.01),
    "free slot, tpe, p50": Limit(unit="s", value=0.01),
    "free slot, tpe, p99": Limit(unit="s", value=0.01),
    "request to proposed beside a slow one, random, p50": Limit(unit="s", value=0.1),
    "request to proposed beside a slow one, random, p99": Limit(unit="s", value=0.1),
    "request to proposed beside a slow one, tpe, p50": Limit(unit="s", value=0.1),
    "request to proposed beside a slow one, tpe, p99": Limit(unit="s", value=1.0),
}
# Measured by `make bench-fair`, or when they are named.
FAIR = ("free-slot", "fair-light", "fair-heavy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each scenario (default 5)")
    parser.add_argument(
        "--trials", type=int, default=10_000, help="trials of the echo scenario (default 10000)"
    )
    measures: dict[str, Callable[[], Awaitable[Measured]]] = {
        "start-and-end": scenarios.start_and_end,
        "apply": scenarios.apply_to_first_trial,
        "echo": lambda: scenarios.echo_trials(arguments.trials),
        "storm": scenarios.metric_storm,
        "latency": scenarios.line_to_point,
        "memory": scenarios.idle_memory,
        "followers": following.followers,
        "free-slot": fairness.free_slot,
        "fair-light": fairness.slow_beside_light,
        "fair-heavy": fairness.slow_beside_heavy,
    }
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="exit 0 even when a limit is not kept (for machines that do other work, too)",
    )
    parser.add_argument("scenario", nargs="*", help=f"some of: {', '.join(measures)}")
    arguments = parser.parse_args()
    unknown = set(arguments.scenario) - measures.keys()
    if unknown:
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}")
    chosen = {
        name: measure
        for name, measure in measures.items()
        if name in arguments.scenario or (not arguments.scenario and name not in FAIR)
    }
    figures = asyncio.run(_measure(chosen, arguments.runs))
    print(table(figures))
    kept = all(figure.kept for figure in figures)
    return 0 if kept or arguments.report_only else 1


async def _measure(chosen: dict[str, Callable[[], Awaitable[Measured]]], runs: int) -> list[Figure]:
    values: dict[str, list[float]] = {}
    for number in range(runs):
        for name, measure in chosen.items():
            print(f"run {number + 1} of {runs}: {name}", file=sys.stderr)
            for figure, value in (await measure()).items():
                values.setdefault(figure, []).append(value)
    return [
        Figure(
            name=name,
            unit=LIMITS[name].unit,
            values=tuple(found),
            limit=LIMITS[name].value,
            sense=LIMITS[name].sense,
        )
        for name, found in values.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
