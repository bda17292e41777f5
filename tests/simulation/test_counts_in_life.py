"""Counters beside the store, when whole experiments have been lived through."""

from dataclasses import replace

import pytest

from trialbus.runtime import metrics
from trialbus.testkit.law_probes import Play
from trialbus.testkit.scenario import FAIR, Story
from trialbus.testkit.told_checks import all_told, check_told

REPLICATED = ("experiment/2", "suggestion/2", "early_stopping/2")


@pytest.mark.parametrize(
    "story",
    [
        FAIR,
        replace(FAIR, replicas=REPLICATED),
        replace(FAIR, names=("plain",), workers=3),
        replace(FAIR, operated=True),
    ],
    ids=["alone", "replicas", "workers", "suspended"],
)
def test_where_nothing_fails_every_count_is_exact(story: Story, play: Play) -> None:
    outcome = play(3, story)
    assert not outcome.world.faults
    check_told(outcome)
    assert all_told(outcome)[metrics.TRIALS_OPENED.name, ()] == 20 * len(story.names)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_nothing_is_counted_twice(seed: int, play: Play) -> None:
    outcome = play(seed)
    assert outcome.world.faults
    check_told(outcome)
