"""`python -m loadtests.watching`: what metrics, scrapes and traces cost, in processor time a trial.

Pairs of runs, each on a stack of its own. Watched: metrics on, every /metrics asked for every five
seconds as Prometheus does, every hundredth trace kept and sent to a receiver in this process.
Unwatched: none of it. Counted is the processor time of all processes of the stack, nats-server,
mongod and the trials themselves among them, from the first experiment to a little after the last.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import psutil

from loadtests.stack import Stack, experiment, running_stack
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.kernel.traces import TraceContext
from trialbus.ports.store import Query
from trialbus.testkit.otlp_receiver import OtlpReceiver, receiving_traces

LIMIT = 1.05
PAIRS = 20
EXPERIMENTS_A_RUN, TRIALS, PARALLEL = 100, 15, 4
# So many experiments are under way at once.
_AT_ONCE = 10
_WARM_UP = 10
_MEASURED = "measured"
SCRAPE_EVERY_S = 5.0
# As Debian's Prometheus 2.42 asks.
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
# Spans are sent, and sent events cleared, within this.
_TAIL_S = 6.0
_LASTS_S = 300.0
_LOOK_EVERY_S = 0.25
_RESAMPLES = 10_000
_ECHO = ("/bin/echo", "loss=${trialParameters.x}")
_SUPERVISOR = "supervisor and the rest"

Seconds = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """seconds: of the processor, by name of the process. spans: how many came."""

    seconds: Seconds
    trials: int
    spans: int = 0

    @property
    def ms_a_trial(self) -> float:
        return 1000 * sum(self.seconds.values()) / self.trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    watched: Run
    unwatched: Run

    @property
    def ratio(self) -> float:
        return self.watched.ms_a_trial / self.unwatched.ms_a_trial


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.watching", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of runs ({PAIRS})")
    parser.add_argument(
        "--experiments",
        type=int,
        default=EXPERIMENTS_A_RUN,
        help=f"experiments of {TRIALS} trials in each run ({EXPERIMENTS_A_RUN}); every hundredth "
        "is traced",
    )
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="exit 0 even when the limit is not kept (for machines that do other work, too)",
    )
    arguments = parser.parse_args()
    pairs = []
    for number in range(arguments.pairs):
        pair = asyncio.run(_pair(number, arguments.experiments))
        pairs.append(pair)
        sys.stderr.write(f"pair {number + 1} of {arguments.pairs}: ratio {pair.ratio:.4f}\n")
    sys.stdout.write(report(pairs))
    return 0 if median_ratio(pairs) <= LIMIT or arguments.report_only else 1


async def _pair(number: int, experiments: int) -> Pair:
    """Which one is first changes from pair to pair."""
    runs = {}
    for watched in (number % 2 == 0, number % 2 == 1):
        runs[watched] = await (_watched(experiments) if watched else _unwatched(experiments))
    return Pair(watched=runs[True], unwatched=runs[False])


async def _unwatched(experiments: int) -> Run:
    async with running_stack({"TRIALBUS_METRICS": "false", "TRIALBUS_TRACE_ENDPOINT": ""}) as stack:
        return await _run(stack, experiments)


async def _watched(experiments: int) -> Run:
    with receiving_traces() as receiver:
        environment = {
            "TRIALBUS_METRICS": "true",
            "TRIALBUS_TRACE_ENDPOINT": receiver.endpoint,
            "TRIALBUS_TRACE_RATIO": "0.01",
        }
        async with running_stack(environment) as stack, _scraped(stack):
            return await _run(stack, experiments, receiver)


async def _run(stack: Stack, experiments: int, receiver: OtlpReceiver | None = None) -> Run:
    await _experiments(stack, "warm", _WARM_UP)
    before = processor_seconds(stack)
    await _experiments(stack, _MEASURED, experiments)
    await asyncio.sleep(_TAIL_S)
    after = processor_seconds(stack)
    return Run(
        seconds={name: after[name] - before.get(name, 0.0) for name in after},
        trials=experiments * TRIALS,
        spans=0 if receiver is None else len(receiver.spans),
    )


async def _experiments(stack: Stack, name: str, count: int) -> None:
    """Some at once, until all have ended with all of their trials."""
    uids: list[str] = []
    for number in range(count):
        traced = name == _MEASURED and number % 100 == 0
        uids.append(await _apply(stack, f"{name}-{number}", traced=traced))
        await _until_open(stack, uids, most=_AT_ONCE - 1)
    await _until_open(stack, uids, most=0)
    documents = await stack.store.get_many(EXPERIMENTS.name, uids, fields=("counts",))
    if any(it["counts"]["succeeded"] != TRIALS for it in documents.values()):
        raise RuntimeError(f"not all trials of {name} succeeded")


async def _apply(stack: Stack, name: str, *, traced: bool) -> str:
    """Its uid. The caller says whether its trace is kept: exactly one in a hundred is."""
    trace = TraceContext(
        trace_id=f"{random.getrandbits(128):032x}",
        span_id=f"{random.getrandbits(64):016x}",
        sampled=traced,
    )
    made = experiment(name, _ECHO, trials=TRIALS, parallel=PARALLEL)
    return await stack.apply(made, headers={"traceparent": str(trace)})


async def _until_open(stack: Stack, uids: Sequence[str], *, most: int) -> None:
    """At most so many of them have not ended. Raises TimeoutError."""
    query = Query(equals={"active": True}, fields=("_id",))
    deadline = time.monotonic() + _LASTS_S
    while time.monotonic() < deadline:
        active = {str(it["_id"]) for it in await stack.store.find(EXPERIMENTS.name, query)}
        if len(active.intersection(uids)) <= most:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    raise TimeoutError(f"more than {most} have not ended within {_LASTS_S:g} s")


@asynccontextmanager
async def _scraped(stack: Stack) -> AsyncIterator[None]:
    scraping = asyncio.create_task(_scrape(stack))
    try:
        yield
        if scraping.done():
            scraping.result()
    finally:
        scraping.cancel()
        await asyncio.gather(scraping, return_exceptions=True)


async def _scrape(stack: Stack) -> None:
    """As Prometheus does, over connections that stay open."""
    pages = [f"{it['health']}/metrics" for it in stack.status["services"].values()]
    async with httpx.AsyncClient(headers={"accept": ACCEPT}, timeout=SCRAPE_EVERY_S) as client:
        while True:
            for page in pages:
                answer = (await client.get(page)).raise_for_status()
                if not answer.text.endswith("# EOF\n"):
                    raise RuntimeError(f"{page} is no OpenMetrics: {answer.text[:200]}")
            await asyncio.sleep(SCRAPE_EVERY_S)


def processor_seconds(stack: Stack) -> Seconds:
    """So far, of every living process of the stack by its name, with the ended children that each
    has waited for: trials, under the launcher."""
    named = {**stack.status["services"], **stack.status["servers"]}
    names = {it["pid"]: name for name, it in named.items()}
    supervisor = psutil.Process(stack.status["pid"])
    found: dict[str, float] = {}
    for process in [supervisor, *supervisor.children(recursive=True)]:
        try:
            times, parent = process.cpu_times(), process.ppid()
        except psutil.NoSuchProcess:  # it is its parent's by now
            continue
        name = names.get(process.pid) or names.get(parent) or _SUPERVISOR
        own = times.user + times.system + times.children_user + times.children_system
        found[name] = found.get(name, 0.0) + own
    return found


def median_ratio(pairs: Sequence[Pair]) -> float:
    return statistics.median(pair.ratio for pair in pairs)


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Of their median, 95 %, by bootstrap (Efron 1979), percentiles."""
    draw = random.Random(7)
    medians = sorted(
        statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES)
    )
    return medians[int(0.025 * _RESAMPLES)], medians[int(0.975 * _RESAMPLES) - 1]


def report(pairs: Sequence[Pair]) -> str:
    """Markdown."""
    ratios = [pair.ratio for pair in pairs]
    low, high = interval(ratios)
    middle = median_ratio(pairs)
    sides = {"watched": [it.watched for it in pairs], "unwatched": [it.unwatched for it in pairs]}
    trials = pairs[0].watched.trials
    spans = statistics.median(it.watched.spans for it in pairs)
    lines = [
        f"{len(pairs)} pairs of runs of {trials} trials of /bin/echo in experiments of {TRIALS}; "
        f"{spans:.0f} spans received in a run.",
        "",
        f"Median ratio {middle:.4f}, 95 % interval {low:.4f} to {high:.4f}, least "
        f"{min(ratios):.4f}, most {max(ratios):.4f}; limit {LIMIT:g}: "
        f"{'kept' if middle <= LIMIT else 'NOT KEPT'}.",
        "",
        "| processor time a trial, ms, median | watched | unwatched | difference |",
        "|---|---|---|---|",
    ]
    lines.append(_row("all processes", *(_middle(it, None) for it in sides.values())))
    names = sorted({name for run in sides["watched"] for name in run.seconds})
    lines += [_row(name, *(_middle(it, name) for it in sides.values())) for name in names]
    return "\n".join(lines) + "\n"


def _middle(runs: Sequence[Run], name: str | None) -> float:
    """ms a trial, of one process or all."""
    if name is None:
        return statistics.median(run.ms_a_trial for run in runs)
    return statistics.median(1000 * run.seconds.get(name, 0.0) / run.trials for run in runs)


def _row(name: str, watched: float, unwatched: float) -> str:
    return f"| {name} | {watched:.3f} | {unwatched:.3f} | {watched - unwatched:+.3f} |"


if __name__ == "__main__":
    sys.exit(main())
