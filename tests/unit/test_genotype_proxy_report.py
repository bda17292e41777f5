"""DARTS on a proxy beside random search: which trainings count, and the interval."""

from pathlib import Path
from typing import Any

import pytest
from loadtests.quality.genotype_proxy_report import Duel, duels_of, interval, proxy_section
from loadtests.quality.genotype_records import Kept


def record(kind: str, name: str, seed: int, cpu_s: float, **rest: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "seed": seed, "genotype": "G", "cpu_s": cpu_s, **rest}


def kept_duel(path: Path, seed: int = 1) -> Kept:
    """A search of 10 s and a training of 5; two random ones, of which validation takes the one
    that is worse in the test; three proxies."""
    kept = Kept(path)
    kept.add(record("search", "darts", seed, 10.0, supernet=0.3))
    kept.add(record("final", "darts", seed, 5.0, validation=0.8, test=0.75))
    kept.add(record("final", "random 0", seed, 8.0, validation=0.6, test=0.7))
    kept.add(record("final", "random 1", seed, 9.0, validation=0.7, test=0.65))
    for number in range(3):
        kept.add(record("proxy", f"proxy {number}", seed, 4.0, validation=0.1 * number))
    return kept


def test_an_experiment_counts_when_all_of_it_was_run(tmp_path: Path) -> None:
    kept = kept_duel(tmp_path / "runs.jsonl")
    assert duels_of(kept, [1, 2]) == []
    kept.add(record("final", "chosen", 1, 7.0, validation=0.5, test=0.72))
    # Read anew, as the next run does.
    [duel] = duels_of(Kept(tmp_path / "runs.jsonl"), [1, 2])
    assert duel == Duel(
        seed=1,
        genotype="G",
        search_s=10,
        final_s=5,
        darts=0.75,
        random=0.7,
        finals=2,
        finals_s=17,
        by_finals=0.65,
        proxies=3,
        proxies_s=19,
        by_proxies=0.72,
    )


def test_differences_are_taken_seed_by_seed(tmp_path: Path) -> None:
    kept = kept_duel(tmp_path / "runs.jsonl")
    kept.add(record("final", "chosen", 1, 7.0, validation=0.5, test=0.76))
    lines = list(proxy_section(kept, duels_of(kept, [1]), "proxies"))
    assert "| DARTS less one random genotype | +0.0500 | +0.0500 to +0.0500 | 1 of 1 |" in lines
    assert any(
        it.startswith("| DARTS less C") and "| -0.0100 | -0.0100 to -0.0100 | 0 of 1 |" in it
        for it in lines
    )


def test_the_interval_is_that_of_the_mean() -> None:
    low, high = interval([0.0, 1.0] * 50)
    # Standard error of the mean of 100 coins: 0.05; 1.96 of them on either side.
    assert low == pytest.approx(0.5 - 0.098, abs=0.015)
    assert high == pytest.approx(0.5 + 0.098, abs=0.015)
    assert interval([0.3, 0.3]) == pytest.approx((0.3, 0.3))
