"""The part of the page about genotypes that were searched on a proxy and trained for longer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, pstdev

from loadtests.quality.genotype_records import Kept, Record

RESAMPLES = 10_000
# Of the means of all resamples, what lies within the 95 % interval.
LOW, HIGH = 0.025, 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One seed: DARTS, and random search for at least as many processor seconds in two ways.

    Accuracies are of the test part. random: of the first genotype drawn, without any choice."""

    seed: int
    genotype: str
    search_s: float
    final_s: float
    darts: float
    random: float
    finals: int
    finals_s: float
    by_finals: float
    proxies: int
    proxies_s: float
    by_proxies: float

    @classmethod
    def of(cls, kept: Kept, seed: int) -> "Duel | None":
        """None: the seed's experiment is not complete."""
        search = kept.find(kind="search", name="darts", seed=seed)
        found = kept.find(kind="final", name="darts", seed=seed)
        chosen = kept.find(kind="final", name="chosen", seed=seed)
        if search is None or found is None or chosen is None:
            return None
        rivals = [it for it in kept.of("final", seed) if it["name"].startswith("random")]
        proxies = kept.of("proxy", seed)
        return cls(
            seed=seed,
            genotype=search["genotype"],
            search_s=search["cpu_s"],
            final_s=found["cpu_s"],
            darts=found["test"],
            random=rivals[0]["test"],
            finals=len(rivals),
            finals_s=_seconds(rivals),
            by_finals=max(rivals, key=lambda it: float(it["validation"]))["test"],
            proxies=len(proxies),
            proxies_s=_seconds(proxies) + chosen["cpu_s"],
            by_proxies=chosen["test"],
        )

    @property
    def darts_s(self) -> float:
        return self.search_s + self.final_s


def duels_of(kept: Kept, seeds: Sequence[int]) -> list[Duel]:
    """Of the seeds whose experiments are complete."""
    return [it for seed in seeds if (it := Duel.of(kept, seed)) is not None]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Of their mean, 95 %, by bootstrap (Efron 1979), percentiles."""
    rng, count = Random(0), len(differences)
    means = sorted(fmean(rng.choices(differences, k=count)) for _ in range(RESAMPLES))
    return means[int(LOW * RESAMPLES)], means[int(HIGH * RESAMPLES) - 1]


def proxy_section(kept: Kept, duels: Sequence[Duel], protocol_name: str) -> Iterator[str]:
    protocol = kept.find(kind="protocol", name=protocol_name, seed=0)
    if protocol is not None:
        yield from (f"> {protocol['text']}", "")
    if not duels:
        yield "No seed is complete."
        return
    yield (
        "| genotype | mean accuracy | deviation between seeds | worst | best | CPU seconds in all |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    search_s, finals = fmean(it.search_s for it in duels), fmean(it.finals for it in duels)
    count = fmean(it.proxies for it in duels)
    rows = (
        ("drawn at random, the first of each seed", "random", None),
        ("A: found by DARTS", "darts", "darts_s"),
        (
            f"B: the best of {finals:.1f} drawn at random, by final trainings",
            "by_finals",
            "finals_s",
        ),
        (f"C: the best of {count:.1f} drawn at random, by proxies", "by_proxies", "proxies_s"),
    )
    for what, name, seconds in rows:
        yield _row(what, [getattr(it, name) for it in duels], duels, seconds)
    final_s = fmean(it.final_s for it in duels)
    rival_s = fmean(it.finals_s / it.finals for it in duels)
    yield from (
        "",
        f"{len(duels)} seeds. A search took {search_s:.1f} CPU seconds, a final training "
        f"{final_s:.1f} of what it found and {rival_s:.1f} of a random genotype: "
        f"{final_s / search_s:.1f} and {rival_s / search_s:.1f} times the search.",
        "",
        "| difference | mean | 95 % interval | seeds in which DARTS is ahead |",
        "| --- | --- | --- | --- |",
        _difference("DARTS less one random genotype", duels, "random"),
        _difference("**DARTS less B, final trainings for the same CPU time**", duels, "by_finals"),
        _difference("DARTS less C, proxies for the same CPU time", duels, "by_proxies"),
        "",
    )
    yield from _every_seed(duels)
    yield from _one_operation(kept, duels)


def _seconds(records: Sequence[Record]) -> float:
    return sum(float(it["cpu_s"]) for it in records)


def _row(what: str, tests: Sequence[float], duels: Sequence[Duel], seconds: str | None) -> str:
    cpu_s = "" if seconds is None else f"{fmean(getattr(it, seconds) for it in duels):.0f}"
    return (
        f"| {what} | {fmean(tests):.4f} | {pstdev(tests):.4f} | {min(tests):.4f} "
        f"| {max(tests):.4f} | {cpu_s} |"
    )


def _difference(what: str, duels: Sequence[Duel], rival: str) -> str:
    differences = [it.darts - getattr(it, rival) for it in duels]
    low, high = interval(differences)
    ahead = sum(it > 0 for it in differences)
    return (
        f"| {what} | {fmean(differences):+.4f} | {low:+.4f} to {high:+.4f} "
        f"| {ahead} of {len(duels)} |"
    )


def _every_seed(duels: Sequence[Duel]) -> Iterator[str]:
    yield "| seed | A | B | trained | C | proxies | CPU seconds A, B, C | genotype found |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for it in duels:
        yield (
            f"| {it.seed} | {it.darts:.4f} | {it.by_finals:.4f} | {it.finals} "
            f"| {it.by_proxies:.4f} | {it.proxies} "
            f"| {it.darts_s:.1f}, {it.finals_s:.1f}, {it.proxies_s:.1f} | `{it.genotype}` |"
        )


def _one_operation(kept: Kept, duels: Sequence[Duel]) -> Iterator[str]:
    """Without any search: the same operation on every edge."""
    trained = [it for it in kept.of("final", duels[0].seed) if it["name"].startswith("all ")]
    if trained:
        texts = (f"`{it['name'].removeprefix('all ')}` {it['test']:.4f}" for it in trained)
        yield from (
            "",
            f"One operation on every edge, one final training each: {', '.join(texts)}.",
        )
