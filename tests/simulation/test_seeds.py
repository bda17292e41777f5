"""Whole experiments on the in-memory world: every seed must keep every law."""

import os
from collections.abc import Callable

import pytest

from trialbus.testkit.outcome_checks import check
from trialbus.testkit.scenario import Outcome

SEEDS = int(os.environ.get("TRIALBUS_SEEDS", "500"))
PER_TEST = 10
# Seeds that once failed stay here.
KEPT: tuple[int, ...] = ()

Play = Callable[[int], Outcome]


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_every_seed_keeps_the_laws(first: int, play: Play) -> None:
    for seed in range(first, min(first + PER_TEST, SEEDS)):
        check(play(seed))


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed_passes(seed: int, play: Play) -> None:
    check(play(seed))


def test_the_same_seed_tells_the_same_story(play: Play) -> None:
    one, other = play(7), play(7)
    for name in ("experiments", "trials", "runs", "chunks", "answers", "evidence"):
        assert one.world.store.documents(name) == other.world.store.documents(name), name
    assert [it.id for it in one.world.published] == [it.id for it in other.world.published]
