"""The page about genotypes: a table, a plot, and with what they were made."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from math import ceil
from pathlib import Path
from random import Random
from statistics import fmean, pstdev, stdev
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 320, 60, 40, 30
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# Random searches that are drawn from the trainings.
SIMULATED = 1000
# Sizes of random searches that the table holds beside the one of equal CPU time.
PICKED_AMONG = (1, 2, 4, 8, 16)
COLOURS = {"darts": "#d55e00", "random": "#0072b2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A genotype, trained once per seed. selections, tests: accuracies by seed."""

    name: str
    genotype: str
    weights: int
    selections: tuple[float, ...]
    tests: tuple[float, ...]
    cpu_s: float

    @classmethod
    def of(cls, name: str, records: Sequence[Mapping[str, Any]]) -> "Training":
        return cls(
            name=name,
            genotype=records[0]["genotype"],
            weights=records[0]["weights"],
            selections=tuple(it["selection"] for it in records),
            tests=tuple(it["test"] for it in records),
            cpu_s=fmean(it["cpu_s"] for it in records),
        )

    @property
    def is_found(self) -> bool:
        return self.name.startswith("darts")

    @property
    def test(self) -> float:
        return fmean(self.tests)


def picked(randoms: Sequence[Training], count: int) -> list[float]:
    """What random searches come to that train `count` genotypes once each and keep the one with
    the best accuracy on images that it was not trained with: of each search, the mean test accuracy
    of the winner's other trainings."""
    rng, tests = Random(count), []
    for _ in range(SIMULATED):
        among, seed = rng.sample(randoms, count), rng.randrange(len(randoms[0].tests))
        winner = max(among, key=lambda it: it.selections[seed])
        tests.append(fmean(test for at, test in enumerate(winner.tests) if at != seed))
    return tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnest:
    """Genotypes that were trained for long, once each; shorts: a short training of each of
    `randoms`, in the same order."""

    found: Sequence[Training]
    randoms: Sequence[Training]
    shorts: Sequence[Training]


def write_report(
    page: Path,
    trainings: Sequence[Training],
    earnest: Earnest,
    search_cpu_s: Sequence[float],
    proxies: Sequence[str] = (),
) -> None:
    """The plot, and what stands between the marks of the page. proxies: the lines about searches
    on a proxy."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    found = [it for it in trainings if it.is_found]
    randoms = [it for it in trainings if not it.is_found]
    results = [
        *proxies,
        "## Long training",
        "",
        *_long(earnest, fmean(search_cpu_s)),
        "",
        "## Short training",
        "",
        *_summary(found, randoms, search_cpu_s),
        "",
        *_searches(found),
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, trialbus "
        f"{version('trialbus')}, one core ({platform.machine()}).",
    ]
    page.with_suffix(".svg").write_text(plot(trainings))
    page.write_text("\n".join([before + BEGIN, "", *results, "", END + after]))


def _long(earnest: Earnest, searched_s: float) -> Iterator[str]:
    found, randoms = earnest.found, earnest.randoms
    once_s = fmean(it.cpu_s for it in (*found, *randoms))
    short_s = fmean(it.cpu_s for it in earnest.shorts)
    # Rounded up, in favour of random search.
    affordable = min(ceil((searched_s + once_s) / once_s), len(randoms))
    means = [it.test for it in found]
    rivals = [
        max(some, key=lambda it: it.selections[0]).test
        for some in combinations(randoms, affordable)
    ]
    best_short = max(range(len(randoms)), key=lambda at: earnest.shorts[at].selections[0])
    yield (
        "| genotype | how many | mean accuracy | deviation between them | worst | best "
        "| CPU seconds in all |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield _row("found by DARTS", str(len(found)), means, f"{searched_s + once_s:.0f}")
    yield _row("drawn at random", str(len(randoms)), [it.test for it in randoms], f"{once_s:.0f}")
    what = f"the best of {affordable} drawn at random, each trained for long"
    yield _row(what, f"{len(rivals)} choices", rivals, f"{affordable * once_s:.0f}")
    what = f"the best of {len(randoms)} drawn at random, chosen by a short training of each"
    cpu_s = len(randoms) * short_s + once_s
    yield _row(what, "1", [randoms[best_short].test], f"{cpu_s:.0f}")
    yield ""
    error = stdev(means) / len(means) ** 0.5
    yield (
        f"A search took {searched_s:.1f} CPU seconds, a long training {once_s:.1f}, a short one "
        f"{short_s:.1f}. The difference of DARTS to random search with the same CPU time "
        f"(long trainings, rounded up) is {fmean(means) - fmean(rivals):+.4f}, the standard error "
        f"of DARTS' mean {error:.4f}; a search of DARTS is ahead in {_ahead(means, rivals):.0%} of "
        "all pairs."
    )


def _ahead(ones: Sequence[float], others: Sequence[float]) -> float:
    """The share of pairs in which the first is better; equal ones are half of it."""
    pairs = [(one > other) + (one == other) / 2 for one in ones for other in others]
    return fmean(pairs)


def _summary(
    found: Sequence[Training], randoms: Sequence[Training], search_cpu_s: Sequence[float]
) -> Iterator[str]:
    searched_s = fmean(search_cpu_s)
    once_s = fmean(it.cpu_s for it in (*found, *randoms))
    # Rounded up, in favour of random search.
    affordable = min(ceil(searched_s / once_s), len(randoms))
    means = [it.test for it in found]
    yield (
        "| genotype | how many | mean accuracy | deviation between them | worst | best "
        "| CPU seconds to find it |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield _row("found by DARTS", str(len(found)), means, f"{searched_s:.1f}")
    yield _row("drawn at random", str(len(randoms)), [it.test for it in randoms], "0")
    for count in sorted({affordable, *(it for it in PICKED_AMONG if it <= len(randoms))}):
        what = f"the best of {count} drawn at random, each trained once"
        yield _row(what, "", picked(randoms, count), f"{count * once_s:.1f}")
    yield ""
    yield from _verdict(means, randoms, affordable)


def _row(what: str, count: str, tests: Sequence[float], cpu_s: str) -> str:
    spread = "| |"
    if len(tests) > 1:
        spread = f"{pstdev(tests):.4f} | {min(tests):.4f} | {max(tests):.4f}"
    return f"| {what} | {count} | {fmean(tests):.4f} | {spread} | {cpu_s} |"


def _verdict(means: Sequence[float], randoms: Sequence[Training], affordable: int) -> Iterator[str]:
    mean, error = fmean(means), stdev(means) / len(means) ** 0.5
    beaten = fmean(sum(it.test < one for it in randoms) / len(randoms) for one in means)
    rivals = picked(randoms, affordable)
    ahead = _ahead(means, rivals)
    even = next((n for n in range(1, len(randoms) + 1) if fmean(picked(randoms, n)) >= mean), None)
    yield (
        f"A genotype that DARTS found is better than {beaten:.0%} of those drawn at random. With "
        f"the same CPU time random search trains {affordable} genotypes (rounded up): the "
        f"difference of DARTS to the best of them is {mean - fmean(rivals):+.4f} (standard error "
        f"of DARTS' mean {error:.4f}), and a search of DARTS is ahead in {ahead:.0%} of all pairs. "
        + (
            "No number of those drawn at random is as good."
            if even is None
            else f"Random search comes to the same with {even} genotypes."
        )
    )


def _searches(found: Sequence[Training]) -> Iterator[str]:
    yield "| search | mean accuracy | weights | genotype |"
    yield "| --- | --- | --- | --- |"
    for it in found:
        yield f"| {it.name} | {it.test:.4f} | {it.weights} | `{it.genotype}` |"


def plot(trainings: Sequence[Training]) -> str:
    """Each genotype's mean with its deviation over trainings, worst first."""
    ranked = sorted(trainings, key=lambda it: it.test)
    spreads = [pstdev(it.tests) for it in ranked]
    low = min(it.test - s for it, s in zip(ranked, spreads, strict=True)) - 0.005
    high = max(it.test + s for it, s in zip(ranked, spreads, strict=True)) + 0.005

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">Accuracy after the same training</text>',
    ]
    for step in range(round(low * 100) + 1, round(high * 100) + 1):
        at = y(step / 100)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{step / 100:.2f}</text>'
        )
    for place, (each, spread) in enumerate(zip(ranked, spreads, strict=True)):
        x = LEFT + (place + 0.5) * (WIDTH - LEFT - 10) / len(ranked)
        colour = COLOURS["darts" if each.is_found else "random"]
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(each.test - spread):.1f}" '
            f'y2="{y(each.test + spread):.1f}" stroke="{colour}"/>'
        )
        parts.append(f'<circle cx="{x:.1f}" cy="{y(each.test):.1f}" r="4" fill="{colour}"/>')
    for place, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + place * 200
        text = "found by DARTS" if name == "darts" else "drawn at random"
        parts.append(f'<circle cx="{x + 6}" cy="{HEIGHT - 16}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{HEIGHT - 12}">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])
