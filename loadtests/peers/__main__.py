"""`python -m loadtests.peers`: workers ask, do nothing, and tell, beside others, in one run.

Rounds go over all entrants in turn, so that what else the machine does falls on all alike. A rate
is that of both worker processes together; bars are judged on medians over rounds.
"""

import argparse
import asyncio
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.peers import entrants, page
from loadtests.peers.entrants import Entrant
from loadtests.stack import Stack, running_stack

WORKERS = 2
# Fewer make no page.
FULL_ROUNDS = 5
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    text: str
    kept: bool


def judged(bar: Bar, rates: dict[str, list[float]]) -> Judged:
    """A ratio is the median over rounds of what stood side by side."""
    rate = statistics.median(rates[bar.name])
    pairs = zip(rates[bar.name], rates[bar.beside], strict=True)
    times = statistics.median(own / other for own, other in pairs)
    kept = rate >= bar.rate and times >= bar.times
    text = (
        f"{bar.name}: {rate:.0f} a second (bar {bar.rate:g}), {times:.2f} times {bar.beside} "
        f"(bar {bar.times:g}): {'kept' if kept else 'NOT kept'}"
    )
    return Judged(text=text, kept=kept)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="loadtests.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", default="", help="Entrants with this in their names.")
    parser.add_argument("--python", default=str(BENCH_PYTHON), help="Python with the others in it.")
    chosen = parser.parse_args(arguments)
    rates = asyncio.run(measure(chosen))
    if chosen.only:
        return 0
    shown = page.table(rates, beside=POSTGRES, workers=WORKERS, seconds=chosen.seconds)
    verdicts = [judged(bar, rates) for bar in BARS]
    print(shown, "", *(verdict.text for verdict in verdicts), sep="\n")
    if chosen.rounds >= FULL_ROUNDS:
        page.write(shown, [verdict.text for verdict in verdicts])
    return 0 if all(verdict.kept for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
