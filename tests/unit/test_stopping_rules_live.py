"""The rules beside medianstop in the stopping service: judged live, stored and told."""

import pytest

from trialbus.kernel.spec import AlgorithmSpec
from trialbus.testkit.stopping_world import react, with_two_completed


@pytest.mark.parametrize(
    ("rule", "settings", "step", "numbers", "counted"),
    [
        # Best so far of the two completed: 1 and 3, at any step.
        ("percentile", {"percentile": "50", "min_trials_required": "2", "start_step": "2"}, 2,
         {"percentile": 50.0, "bar": 2.0}, (2, 2)),
        ("threshold", {"upper": "8.5"}, 1, {"value": 9.0, "upper": 8.5}, (0, 0)),
        ("patience", {"patience": "2"}, 4,
         {"patience": 2, "min_delta": 0.0, "waited": 2, "improved_at": 2, "reference": 8.0},
         (0, 0)),
    ],
)  # fmt: skip
async def test_every_rule_is_judged_live_and_its_numbers_are_kept_and_told(
    rule: str,
    settings: dict[str, str],
    step: int,
    numbers: dict[str, float],
    counted: tuple[int, int],
) -> None:
    world = await with_two_completed(AlgorithmSpec(name=rule, settings=tuple(settings.items())))
    # A new service for each report: a restart changes nothing.
    for better, loss in enumerate((9.0, 8.0, 8.0, 8.0)):
        assert not await react(await world.start())
        await world.report(2, loss)
        await world.report(3, 1.5 - better / 10)
    reactor = await world.start()
    await react(reactor)
    assert world.verdicts.keys() == {2}
    verdict = world.verdicts[2]
    assert (verdict.rule, verdict.step, verdict.numbers) == (rule, step, numbers)
    assert (verdict.completed, verdict.watermark) == counted
    [told] = [each["evidence"] for event in world.events for each in event.data["trials"]]
    assert (told["numbers"], told["median"]) == (numbers, None)


async def test_a_rule_that_is_not_installed_here_stops_nothing_and_is_no_failure() -> None:
    world = await with_two_completed(AlgorithmSpec(name="elsewhere"))
    await world.report(2, 9.0, 8.0)
    reactor = await world.start()
    assert await reactor.sweep() == []
    assert await react(reactor) == {}
    assert not world.verdicts
