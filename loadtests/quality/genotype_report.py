"""The page about genotypes: a table, a plot, and with what they were made."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import fmean, pstdev
from typing import Any

REPOSITORY = Path(__file__).parents[2]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 320, 60, 40, 30
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# Random searches that are drawn from the trainings.
SIMULATED = 1000
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


def picked(randoms: Sequence[Training], count: int) -> float:
    """What random search comes to that trains `count` genotypes once each and keeps the one with
    the best accuracy on images that it was not trained with: the test accuracy of the winner's
    other trainings, as a mean over many such searches."""
    rng, tests = Random(count), []
    for _ in range(SIMULATED):
        among, seed = rng.sample(randoms, count), rng.randrange(len(randoms[0].tests))
        winner = max(among, key=lambda it: it.selections[seed])
        tests.append(fmean(test for at, test in enumerate(winner.tests) if at != seed))
    return fmean(tests)


def write_report(page: Path, trainings: Sequence[Training], search_cpu_s: Sequence[float]) -> None:
    """The plot, and what stands between the marks of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    found = [it for it in trainings if it.is_found]
    randoms = [it for it in trainings if not it.is_found]
    results = [
        *_summary(found, randoms, fmean(search_cpu_s)),
        "",
        *_searches(found),
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, trialbus "
        f"{version('trialbus')}, one core ({platform.machine()}).",
    ]
    page.with_suffix(".svg").write_text(plot(trainings))
    page.write_text("\n".join([before + BEGIN, "", *results, "", END + after]))


def _summary(
    found: Sequence[Training], randoms: Sequence[Training], searched_s: float
) -> Iterator[str]:
    once_s = fmean(it.cpu_s for it in randoms)
    affordable = min(max(round(searched_s / once_s), 1), len(randoms))
    mean = fmean(it.test for it in found)
    beaten = fmean(sum(other.test < it.test for other in randoms) / len(randoms) for it in found)
    yield (
        "| genotype | how many | mean accuracy | deviation between them | worst | best "
        "| CPU seconds to find it |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for what, group, cpu_s in (
        ("found by DARTS", found, searched_s),
        ("drawn at random", randoms, 0.0),
    ):
        tests = [it.test for it in group]
        yield (
            f"| {what} | {len(group)} | {fmean(tests):.4f} | {pstdev(tests):.4f} "
            f"| {min(tests):.4f} | {max(tests):.4f} | {cpu_s:.0f} |"
        )
    even = next(
        (count for count in range(1, len(randoms) + 1) if picked(randoms, count) >= mean), None
    )
    for count in sorted({2, 4, affordable}):
        yield (
            f"| the best of {count} drawn at random, each trained once | | "
            f"{picked(randoms, count):.4f} | | | | {count * once_s:.0f} |"
        )
    yield ""
    yield f"A genotype that DARTS found is better than {beaten:.0%} of those drawn at random."
    if even is not None:
        yield (
            f"Random search comes to the same with {even} genotypes. So DARTS is the cheaper way "
            f"where training one candidate takes more than a {even}th of a search, here "
            f"{searched_s / even:.1f} s; in this benchmark it takes {once_s:.1f} s, so random "
            f"search is ahead with the same CPU time."
            if searched_s / even > once_s
            else f"Random search comes to the same with {even} genotypes, which take longer."
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
