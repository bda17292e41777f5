"""docs/benchmarks/load.md: every figure that has a limit, with its spread and its head-room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.load.estimates import Spread, spread
from loadtests.load.measures import figures_of
from loadtests.load.people import MEANINGS
from loadtests.load.results import Run
from loadtests.load.scenario import Limit, Scenario

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "load.md"

HEAD = """# Load

What a stack carries on one machine, and how far that is from what is promised. `make load
SCENARIO=laptop` runs one scenario, `make load` all of them (`sustained` takes more than an hour);
the runs are added to `loadtests/results/load/` and this page and its plots are made anew. Exit code
1: a limit is missed. Run it on a machine that does nothing else: people and services share its
processors, and the load itself needs some (*processor, the load itself*).

Scenarios are files in `loadtests/load/scenarios/`: experiments, people, limits. People call over
HTTP (Locust's `FastHttpUser`), server-sent events and NATS (a process of its own with nats-py); the
latencies are theirs, exact to 2 %. What services say of themselves comes from their `/metrics`, the
lag of their consumers from nats-server, memory and processor time from `/proc`. Each run has a new
stack, and after it the store is read whole: every experiment ended with exactly its budget, never
more trials at once than allowed, each with its metric, every result that a worker knows to be
accepted there, every point stored, no process started again. What does not hold is a *broken
promise*.

A figure is kept if its mean over the runs is; where the limit is 0, each run. *Head-room* is limit
by mean, or mean by limit where more is better: below 1 the limit is missed. *Spread* is the
standard deviation over runs. Of memory's growth: the median slope (Theil and Sen) of what a process
shares with none, over the last three quarters of the time.

```sh
make load SCENARIO=laptop                       # one scenario, all of its runs
make load SCENARIO=laptop ARGS='--scale 0.1 --seconds 20'   # a try: to build/load/, not here
make load SCENARIO=sustained ARGS=--background  # goes on when the terminal is closed
make load ARGS=--report                         # the page alone, from the runs that are there
make profile SCENARIO=echo                      # where processor time goes: profiles.md
```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """values: of the runs that measured it. kept: None if none did."""

    limit: Limit
    unit: str
    values: tuple[float, ...]
    runs: int

    @property
    def kept(self) -> bool | None:
        if len(self.values) < self.runs or not self.values:
            return None
        found = spread(self.values)
        if self.limit.at_least is not None:
            return found.mean >= self.limit.at_least
        assert self.limit.at_most is not None
        # None is below 0: a limit of 0 holds for each run.
        return found.mean <= self.limit.at_most

    @property
    def head_room(self) -> float | None:
        """None without a sensible one: of a limit of 0, or of a mean that is not above 0."""
        mean = spread(self.values).mean if self.values else 0.0
        bound = self.limit.at_most if self.limit.at_most is not None else self.limit.at_least
        if not bound or mean <= 0:
            return None
        return bound / mean if self.limit.at_most is not None else mean / bound


def judged(scenario: Scenario, runs: Sequence[Run]) -> list[Judged]:
    units = figures_of(scenario)
    return [
        Judged(
            limit=limit,
            unit=units[limit.figure],
            values=tuple(it.figures[limit.figure] for it in runs if limit.figure in it.figures),
            runs=len(runs),
        )
        for limit in scenario.limits
    ]


def table(found: Sequence[Judged]) -> str:
    lines = [
        "| figure | unit | mean | spread | least | most | limit | head-room | kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(it) for it in found]
    return "\n".join(lines)


def _row(it: Judged) -> str:
    kept = {True: "yes", False: "NO", None: "not measured"}[it.kept]
    if not it.values:
        return f"| {it.limit.figure} | {it.unit} | | | | | {it.limit.text} | | {kept} |"
    room = "" if it.head_room is None else f"{it.head_room:.1f}"
    numbers = _numbers(spread(it.values))
    return f"| {it.limit.figure} | {it.unit} | {numbers} | {it.limit.text} | {room} | {kept} |"


def _numbers(it: Spread) -> str:
    return " | ".join(_short(each) for each in (it.mean, it.deviation, it.least, it.most))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def section(scenario: Scenario, runs: Sequence[Run], plot: str | None) -> str:
    """plot: file name of the newest run's."""
    lines = [f"## {scenario.title}", "", scenario.about.strip(), "", *_cast(scenario), ""]
    if not runs:
        command = f"make load SCENARIO={scenario.name}"
        return "\n".join([*lines, f"Not measured yet: `{command}`.", "", *_limits(scenario), ""])
    lines += [_told(scenario, runs), "", table(judged(scenario, runs)), ""]
    broken = [text for run in runs for text in run.broken]
    if broken:
        lines += ["Broken promises:", "", *(f"- {text}" for text in broken), ""]
    if problems := _problems(runs):
        lines += ["Calls that failed:", "", *problems, ""]
    if plot is not None:
        lines += [f"![{scenario.title}]({plot})", ""]
    return "\n".join(lines)


def _cast(scenario: Scenario) -> list[str]:
    experiments = [
        f"- {it.count or 'as they come'} × `{it.name}`: {it.trials} trials, "
        f"{it.parallel} at a time, "
        + ("by workers" if it.by == "workers" else f"`{' '.join(it.command)}`")
        for it in scenario.experiments
    ]
    people = [
        f"- {it.count} × {it.kind} ({', '.join(f'`{name}`' for name in it.of)}): "
        f"{MEANINGS[it.kind]}"
        for it in scenario.people
    ]
    come = f"People, who come within {scenario.come_within:g} s:"
    return ["Experiments:", "", *experiments, "", come, "", *people]


def _limits(scenario: Scenario) -> list[str]:
    return ["| figure | limit |", "|---|---|"] + [
        f"| {it.figure} | {it.text} |" for it in scenario.limits
    ]


def _told(scenario: Scenario, runs: Sequence[Run]) -> str:
    last = runs[-1]
    load = ", ".join(f"{run.load:.1f}" for run in runs)
    missing = "" if len(runs) == scenario.runs else f" of {scenario.runs}"
    return (
        f"{len(runs)} run{'s' * (len(runs) > 1)}{missing}, the last of {last.at[:10]} "
        f"({last.revision}), {last.cores} cores, load average before {load}. "
        f"The last: {last.seconds:.0f} s, {last.people} people, {last.requests} calls, "
        f"{last.experiments} experiments, {last.trials} trials."
    )


def _problems(runs: Sequence[Run]) -> list[str]:
    found: dict[str, int] = {}
    for run in runs:
        for text, count in (run.problems or {}).items():
            found[text] = found.get(text, 0) + count
    worst = sorted(found.items(), key=lambda it: -it[1])[:10]
    return [f"- {count} × {_one_line(text)}" for text, count in worst]


def _one_line(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def page(scenarios: Sequence[Scenario], runs: Mapping[str, Sequence[Run]]) -> str:
    parts = [
        section(it, runs.get(it.name, ()), f"load-{it.name}.svg" if runs.get(it.name) else None)
        for it in scenarios
    ]
    return "\n".join([HEAD, overview(scenarios, runs), *parts]).rstrip() + "\n"


def overview(scenarios: Sequence[Scenario], runs: Mapping[str, Sequence[Run]]) -> str:
    lines = ["| scenario | runs | limits kept | least head-room |", "|---|---|---|---|"]
    for it in scenarios:
        own = runs.get(it.name, ())
        found = judged(it, own)
        kept = sum(each.kept is True for each in found)
        rooms = [(each.head_room, each.limit.figure) for each in found if each.head_room]
        least = f"{min(rooms)[0]:.1f}, {min(rooms)[1]}" if rooms else ""
        told = f"{kept} of {len(found)}" if own else "not measured"
        lines.append(f"| {it.title} (`{it.name}`) | {len(own)} | {told} | {least} |")
    return "\n".join([*lines, ""])
