"""docs/benchmarks/peers.md: the table of `make bench-peers`, and what it means."""

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/benchmarks/peers.md"

_HEAD = """# Ask and tell beside other systems

How many trials a second do two worker processes get through, if the objective does nothing?
`make bench-peers` measures it side by side in one run, six minutes of a machine that does nothing
else, and writes this page. Random search over one double. A result counts when its durable answer
is back: ours through the gateway (or NATS), the launcher and MongoDB (majority, journaled), while
the experiment service counts it and opens the next.

- *One at a time*: a process has one trial; it tells the result and asks for the next in one
  request. The experiment lets 32 trials be open at a time.
- *32 leased ahead*: a process leases up to 32 trials and tells their results in groups
  (`client.work_on(name, ahead=32)`).
- Optuna with random search, each storage at its best: a journal file that the processes share,
  PostgreSQL 18 (`fsync` on, over its own Unix socket), the gRPC proxy. Over memory nothing
  survives.
- Not measured in this run, because of what they bring along: the gRPC service of Google Vizier
  0.1.24 (its client loads JAX) and Ray Tune 2.60 (a wheel of 79 MB with a cluster's servers). An
  earlier measurement on two cores had Vizier at 13 to 24 a second, Ray Tune with reused actors at
  14.
"""


def table(
    rates: Mapping[str, Sequence[float]], *, beside: str, workers: int, seconds: float
) -> str:
    """Markdown. beside: the name of whom the last column compares with."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    other = statistics.median(rates[beside])
    lines = [
        f"{os.cpu_count()} cores, load average at the end {load}; {workers} worker processes, "
        f"{seconds:g} s each, {len(rates[beside])} rounds.",
        "",
        f"| system | trials a second (median) | least | most | times {beside} |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {statistics.median(own):.0f} | {min(own):.0f} | {max(own):.0f} | "
        f"{statistics.median(own) / other:.1f} |"
        for name, own in rates.items()
    ]
    return "\n".join(lines)


def write(table: str, bars: Sequence[str]) -> None:
    """bars: each, and whether it is kept."""
    told = "\n".join(f"- {bar}" for bar in bars)
    PAGE.write_text(f"{_HEAD}\n{table}\n\n## Bars\n\n{told}\n")
