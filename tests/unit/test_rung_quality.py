"""The rung algorithms on learning curves of real training: few epochs, and nearly the same best."""

from statistics import fmean

import pytest
from loadtests.quality.rung_curves import CONFIGURATIONS, EPOCHS, IMAGES, load, settings_of
from loadtests.quality.rungs import ENTRANTS, SEEDS, Searched, search


@pytest.fixture(scope="module")
def found() -> dict[str, list[Searched]]:
    curves = load()
    return {it.name: [search(it, seed, curves) for seed in range(SEEDS)] for it in ENTRANTS}


def test_the_curves_are_accuracies_of_every_configuration_and_epoch() -> None:
    curves = load()
    assert len(curves) == CONFIGURATIONS
    assert {len(curve) for curve in curves} == {EPOCHS}
    assert all(0 <= value * IMAGES <= IMAGES for curve in curves for value in curve)
    # Good ones are rare, or there would be nothing to search.
    best = max(max(curve) for curve in curves)
    assert 0.02 < fmean(max(curve) >= 0.99 * best for curve in curves) < 0.2
    assert settings_of(3) == settings_of(3) != settings_of(4)


@pytest.mark.parametrize("name", ["asha", "async-hyperband", "hyperband"])
def test_60_percent_fewer_epochs_with_the_best_accuracy_within_one_percent(
    name: str, found: dict[str, list[Searched]]
) -> None:
    own, random = found[name], found["random"]
    assert {it.epochs for it in random} == {81 * 81}
    assert fmean(it.epochs for it in own) <= 0.4 * 81 * 81
    losses = [1 - a.accuracy / b.accuracy for a, b in zip(own, random, strict=True)]
    assert fmean(losses) <= 0.01


def test_checkpoints_save_what_the_parents_have_trained(found: dict[str, list[Searched]]) -> None:
    for runs in (found["asha"], found["hyperband"]):
        assert all(run.epochs < run.anew for run in runs)
    # Hyperband's brackets for r_l 81 and eta 3: 206 trials, by hand.
    assert {(run.trials, run.anew) for run in found["hyperband"]} == {(206, 1902)}
