"""`python -m loadtests.peers`: workers ask, do nothing, and tell, beside others, in one run.

Rounds go over all entrants in turn, so that what else the machine does falls on all alike. A rate
is that of both worker processes together; bars are judged on medians over rounds.
"""

import argparse
import asyncio
import os
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.peers import entrants
from loadtests.peers.entrants import Entrant
from loadtests.stack import Stack, running_stack

WORKERS = 2
AHEAD = 32
BENCH_PYTHON = Path(sys.prefix) / "bench" / "bin" / "python"

ONE, AHEAD_NAME = "trialbus, one at a time", f"trialbus, {AHEAD} leased ahead"
OVER_NATS, AHEAD_NATS = f"{ONE}, over NATS", f"{AHEAD_NAME}, over NATS"
JOURNAL, POSTGRES = "Optuna, journal file, no server", "Optuna, PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """At least `rate` trials a second, and `times` as many as `beside`."""

    name: str
    rate: float
    times: float
    beside: str


BARS = (
    Bar(name=ONE, rate=100, times=3, beside=POSTGRES),
    Bar(name=AHEAD_NAME, rate=500, times=10, beside=POSTGRES),
    Bar(name=AHEAD_NAME, rate=500, times=1, beside=JOURNAL),
)


def all_entrants(stack: Stack, python: str) -> list[Entrant]:
    return [
        Entrant(name=ONE, durable=True, begin=entrants.ours(stack, "http", ahead=1)),
        Entrant(name=AHEAD_NAME, durable=True, begin=entrants.ours(stack, "http", ahead=AHEAD)),
        Entrant(name=OVER_NATS, durable=True, begin=entrants.ours(stack, "nats", ahead=1)),
        Entrant(name=AHEAD_NATS, durable=True, begin=entrants.ours(stack, "nats", ahead=AHEAD)),
        Entrant(name=JOURNAL, durable=True, begin=entrants.optuna_journal(python)),
        Entrant(name=POSTGRES, durable=True, begin=entrants.optuna_postgres(python)),
        Entrant(
            name="Optuna, gRPC proxy over a journal",
            durable=True,
            begin=entrants.optuna_proxy(python, over="journal"),
        ),
        Entrant(
            name="Optuna, gRPC proxy over memory",
            durable=False,
            begin=entrants.optuna_proxy(python, over="memory"),
        ),
    ]


async def rate_of(entrant: Entrant, seconds: float) -> float:
    """Trials a second of all workers together."""
    async with entrant.begin(seconds) as command:
        workers = []
        # One after the other: some make their tables on the way.
        for _ in range(WORKERS):
            worker = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            workers.append(worker)
            assert worker.stdout is not None
            ready = await worker.stdout.readline()
            if ready != b"ready\n":
                raise RuntimeError(f"{entrant.name}: a worker said {ready!r}")
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
        said = [(await worker.communicate())[0].split() for worker in workers]
    return sum(int(done) / float(took) for done, took in said)


async def measure(chosen: argparse.Namespace) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {}
    async with running_stack() as stack:
        taking_part = [it for it in all_entrants(stack, chosen.python) if chosen.only in it.name]
        for number in range(chosen.rounds):
            for entrant in taking_part:
                rate = await rate_of(entrant, chosen.seconds)
                rates.setdefault(entrant.name, []).append(rate)
                print(f"round {number + 1}: {entrant.name}: {rate:.0f}/s", file=sys.stderr)
    return rates


def table(rates: dict[str, list[float]], seconds: float) -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    beside = statistics.median(rates[POSTGRES])
    lines = [
        f"{os.cpu_count()} cores, load average at the end {load}; {WORKERS} worker processes, "
        f"{seconds:g} s each, {len(rates[POSTGRES])} rounds.",
        "",
        "| system | trials a second (median) | least | most | times Optuna on PostgreSQL |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {statistics.median(own):.0f} | {min(own):.0f} | {max(own):.0f} | "
        f"{statistics.median(own) / beside:.1f} |"
        for name, own in rates.items()
    ]
    return "\n".join(lines)


def missed(rates: dict[str, list[float]]) -> list[str]:
    """The bars that are not kept. A ratio is the median over rounds of what stood side by side."""
    problems = []
    for bar in BARS:
        rate = statistics.median(rates[bar.name])
        pairs = zip(rates[bar.name], rates[bar.beside], strict=True)
        times = statistics.median(own / other for own, other in pairs)
        if rate < bar.rate:
            problems.append(f"{bar.name}: {rate:.0f}/s, the bar is {bar.rate:g}/s")
        if times < bar.times:
            problems.append(f"{bar.name}: {times:.2f} times {bar.beside}, the bar is {bar.times:g}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="loadtests.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", default="", help="Entrants with this in their names.")
    parser.add_argument("--python", default=str(BENCH_PYTHON), help="Python with the others in it.")
    chosen = parser.parse_args(arguments)
    rates = asyncio.run(measure(chosen))
    if chosen.only:
        return 0
    print(table(rates, chosen.seconds))
    problems = missed(rates)
    print("\n" + ("\n".join(problems) if problems else "every bar is kept"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
