"""Launches and starts of runs are told in pairs, in whatever order the news of them comes."""

import pytest

from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.testkit.shipping_world import run
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import observed, told
from trialbus_trial_launcher.app.hand import Hand

RUN = run()


@pytest.fixture
def world() -> StillWorld:
    return StillWorld()


@pytest.fixture
def parts(world: StillWorld) -> Parts:
    return world.parts()


@pytest.fixture
def hand(parts: Parts) -> Hand:
    return Hand(parts, "cluster")


def launches_and_starts(parts: Parts) -> list[tuple[int, float]]:
    """Of each how many, and their seconds."""
    return [observed(parts.telemetry, it) for it in (metrics.LAUNCHED, metrics.STARTED)]


def test_a_start_is_told_from_the_launch_on(world: StillWorld, parts: Parts, hand: Hand) -> None:
    hand.claim(RUN, 990.0)
    hand.launched(RUN.id)
    world.clock.time += 3
    hand.running(RUN.id)
    hand.running(RUN.id)
    assert launches_and_starts(parts) == [(1, 10.0), (1, 3.0)]


def test_a_start_that_is_heard_of_before_its_launch_took_no_time(
    world: StillWorld, parts: Parts, hand: Hand
) -> None:
    hand.claim(RUN, 990.0)
    hand.running(RUN.id)
    world.clock.time += 3
    hand.launched(RUN.id)
    hand.running(RUN.id)
    assert launches_and_starts(parts) == [(1, 13.0), (1, 0.0)]
    assert told(parts.telemetry, metrics.RUNS, state="running") == 1
    assert told(parts.telemetry, metrics.RUNS, state="waiting") == 0


def test_what_others_launched_is_no_start_of_ours(parts: Parts, hand: Hand) -> None:
    hand.take(RUN, 990.0)
    hand.found(RUN.id)
    hand.running(RUN.id)
    assert launches_and_starts(parts) == [(0, 0.0), (0, 0.0)]


def test_a_command_of_this_machine_runs_when_it_is_launched(parts: Parts) -> None:
    hand = Hand(parts, "process")
    hand.claim(RUN, 990.0)
    hand.launched(RUN.id)
    assert launches_and_starts(parts) == [(1, 10.0), (0, 0.0)]
    assert told(parts.telemetry, metrics.RUNS, state="running") == 1
