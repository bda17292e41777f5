"""ENAS' controller: its gradients, its probabilities, and what a lesson changes."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from trialbus_suggestion.core.enas_architectures import Architecture, Batch
from trialbus_suggestion.core.enas_controller import Form, Goal, Unrolled, gradient, unroll
from trialbus_suggestion.core.enas_learning import (
    Learner,
    LearningSettings,
    Lesson,
    baselines,
    is_time_to_learn,
    learn,
    new_learner,
)

FORM = Form(layers=3, operations=4, hidden=8, temperature=5.0, tanh_const=2.25)
SETTINGS = LearningSettings(
    learning_rate=0.01,
    train_steps=50,
    baseline_decay=0.999,
    entropy_weight=0.0,
    skip_weight=0.0,
    skip_target=0.4,
)


def drawn(form: Form, flat: np.ndarray, count: int = 400) -> Unrolled:
    shape = (count, form.layers, form.layers)
    return unroll(form, flat, chances=np.random.default_rng(3).random(shape))


def value_of(form: Form, flat: np.ndarray, batch: Batch, goal: Goal) -> float:
    """The goal, from its definition."""
    unrolled = unroll(form, flat, batch)
    count = len(goal.weights)
    total = float(goal.weights @ unrolled.log_p)
    for layer in unrolled.layers:
        total += goal.entropy / count * float((np.exp(layer.log_p) * layer.log_p).sum())
        if layer.chance is None:
            continue
        yes, no = layer.chance, 1 - layer.chance
        total += goal.entropy / count * float((yes * np.log(yes) + no * np.log(no)).sum())
        target = goal.skip_target
        divergence = yes * np.log(yes / target) + no * np.log(no / (1 - target))
        total += goal.skip / (form.layers - 1) / count * float(divergence.sum())
    return total


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("layers", [1, 4])
def test_the_controllers_gradient_is_that_of_differences(layers: int, bounded: bool) -> None:
    form = Form(
        layers=layers,
        operations=3,
        hidden=4,
        temperature=5.0 if bounded else None,
        tanh_const=2.25 if bounded else None,
    )
    rng = np.random.default_rng(1)
    flat = rng.normal(0, 0.7, form.size)
    unrolled = drawn(form, flat, count=3)
    goal = Goal(weights=rng.normal(size=3), entropy=0.3, skip=0.7, skip_target=0.3)
    found = gradient(form, flat, unrolled, goal)
    for at in range(0, form.size, 7):
        above, below = flat.copy(), flat.copy()
        above[at] += 1e-6
        below[at] -= 1e-6
        difference = value_of(form, above, unrolled.batch, goal) - value_of(
            form, below, unrolled.batch, goal
        )
        assert found[at] == pytest.approx(difference / 2e-6, abs=1e-7)


def test_what_is_drawn_is_as_likely_as_the_controller_says() -> None:
    """All architectures of a small space: their probabilities add up to 1, and many draws come as
    often as they say."""
    form = replace(FORM, layers=2, operations=2)
    flat = np.random.default_rng(2).normal(0, 0.8, form.size)
    every = [
        Architecture(operations=(first, second), skips=((), (bit,)))
        for first, second, bit in product(range(2), repeat=3)
    ]
    p = np.exp(unroll(form, flat, Batch.of(every)).log_p)
    assert p.sum() == pytest.approx(1.0)
    many = drawn(form, flat, count=20_000)
    np.testing.assert_allclose(unroll(form, flat, many.batch).log_p, many.log_p)
    counts = dict.fromkeys(every, 0)
    for each in many.batch.architectures():
        counts[each] += 1
    shares = np.array([counts[each] / 20_000 for each in every])
    assert np.abs(shares - p).max() < 0.015
    even = unroll(form, flat, Batch.of(every), sharpness=0.0)
    np.testing.assert_allclose(even.log_p, math.log(1 / 8))


def lesson_of(batch: Batch, rewards: np.ndarray, log_p: np.ndarray) -> Lesson:
    return Lesson(batch=batch, rewards=rewards, log_p=log_p)


@pytest.mark.parametrize("rewards", [(1.0, -1.0), (-1.0, 1.0)])
def test_each_architecture_is_credited_with_its_own_reward(rewards: tuple[float, float]) -> None:
    """Their mean is the same, and what is learned the opposite."""
    learner = new_learner(FORM, 1)
    skips = ((), (0,), (0, 0))
    two = Batch.of([Architecture(operations=(it,) * 3, skips=skips) for it in (0, 1)])
    before = unroll(FORM, learner.flat, two).log_p
    settings = replace(SETTINGS, train_steps=10)
    learn(FORM, learner, lesson_of(two, np.array(rewards), before), settings)
    moved = unroll(FORM, learner.flat, two).log_p - before
    assert (np.sign(moved) == rewards).all(), moved


def test_what_is_unlikely_by_now_is_not_pushed_further() -> None:
    """Drawn a million times likelier than it is now: its bad reward has no weight any more."""
    known, pushed = new_learner(FORM, 1), new_learner(FORM, 1)
    one = drawn(FORM, known.flat, count=2)
    rewards = np.array([-1.0, 0.0])
    for learner, log_p in ((known, one.log_p), (pushed, one.log_p + math.log(1e6))):
        settings = replace(SETTINGS, baseline_decay=1e-9, train_steps=1)
        learn(FORM, learner, lesson_of(one.batch, rewards, log_p), settings)
    start = new_learner(FORM, 1).flat
    assert np.abs(known.mean).max() > 1e5 * np.abs(pushed.mean).max()
    assert not np.array_equal(known.flat, start)


@pytest.mark.parametrize("target", [0.2, 0.7, 1.0])
def test_the_penalty_brings_the_share_of_skips_to_its_target(target: float) -> None:
    learner, idle = new_learner(FORM, 1), new_learner(FORM, 1)
    some = drawn(FORM, learner.flat, count=16)
    lesson = lesson_of(some.batch, np.zeros(16), some.log_p)
    settings = replace(SETTINGS, skip_weight=0.8, skip_target=target, train_steps=300)
    learn(FORM, learner, lesson, settings)
    learn(FORM, idle, lesson, replace(settings, skip_weight=0.0))
    # Three of nine bits are skips of three layers.
    assert drawn(FORM, learner.flat).batch.skips.sum() / 1200 == pytest.approx(target, abs=0.06)
    assert drawn(FORM, idle.flat).batch.skips.sum() / 1200 == pytest.approx(0.5, abs=0.06)


def test_entropy_keeps_decisions_open() -> None:
    """Of a controller that is certain of something, with nothing to learn."""
    rng = np.random.default_rng(4)
    certain = Learner(rng.normal(0, 1.5, FORM.size).astype(np.float32))
    some = drawn(FORM, certain.flat, count=16)
    lesson = lesson_of(some.batch, np.zeros(16), some.log_p)
    before = drawn(FORM, certain.flat).log_p.mean()
    learn(FORM, certain, lesson, replace(SETTINGS, entropy_weight=1.0))
    assert drawn(FORM, certain.flat).log_p.mean() < before - 0.5


def test_the_baseline_is_a_moving_average_that_begins_with_the_first_reward() -> None:
    settings = replace(SETTINGS, baseline_decay=0.5, train_steps=1)
    assert baselines(np.array([3.0]), settings) == 3.0
    # Weights 1/4, 1/2 and 1.
    assert baselines(np.array([4.0, 2.0, 1.0]), settings) == pytest.approx(3 / 1.75)


def test_lessons_become_rarer() -> None:
    times = [count for count in range(1, 300) if is_time_to_learn(count)]
    assert times[:50] == list(range(1, 51))
    assert times[50:53] == [52, 54, 56]
    assert [count for count in times if 100 < count < 112] == [104, 108]
    assert [count for count in times if count > 280] == [288, 296]
