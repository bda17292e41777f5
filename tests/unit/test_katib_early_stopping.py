"""Katib's EarlyStopping and DBManager at the edge: what their messages mean here."""

import math
from dataclasses import dataclass, field, replace

import pytest

from trialbus.contracts.collections import EVIDENCE, TRIALS
from trialbus.contracts.documents import TRIAL, DocumentCodec
from trialbus.contracts.katib.times import parse_rfc3339_ns, rfc3339_us
from trialbus.kernel.errors import NotNow, NotThere, Refused
from trialbus.kernel.evidence import StoredVerdict
from trialbus.kernel.experiment import ClosingTrial, Experiment
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus_early_stopping.app.asked_stops import AskedStops
from trialbus_early_stopping.app.fixed_rules import FixedRules, SucceededTrial
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import FixedRule

NAME = "tune-a"
RUN = f"{UID}.0.1"
RULE = AlgorithmSpec(name="medianstop")
VERDICT = DocumentCodec(StoredVerdict)


@dataclass
class World(StillWorld):
    state: Experiment = field(default_factory=lambda: experiment(1, rule=RULE))

    async def begin(self, phase: TrialPhase = TrialPhase.CREATED) -> AskedStops:
        await self.prepare(self.state)
        await self.insert(TRIALS.name, TRIAL.encode(trial(phase)))
        return AskedStops(self.parts())

    @property
    def verdicts(self) -> list[StoredVerdict]:
        return [VERDICT.decode(it) for it in self.store.documents(EVIDENCE.name)]


def trial(phase: TrialPhase) -> Trial:
    return Trial(
        id=f"{UID}.0",
        uid=UID,
        version=1,
        namespace="team",
        experiment="tune",
        index=0,
        name=NAME,
        phase=phase,
        assignments=(),
        conditions=(),
        created_at=0.0,
    )


# Stopping -----------------------------------------------------------------------------------------


async def test_a_stop_that_is_asked_for_is_a_verdict_like_our_own_and_is_told() -> None:
    world = World()
    stops = await world.begin()
    await stops.stop(NAME)
    [stored] = world.verdicts
    assert (stored.id, stored.verdict is not None) == (RUN, True)
    assert stored.verdict is not None
    assert (stored.verdict.rule, stored.verdict.stop, stored.verdict.step) == (
        "medianstop",
        True,
        0,
    )
    assert "SetTrialStatus" in stored.verdict.reason
    assert math.isnan(stored.verdict.best), "nothing is known of its objective"
    [event] = world.events
    assert event.type == "trial.stop_requested"
    assert [each["trial"] for each in event.data["trials"]] == [NAME]


async def test_a_verdict_that_is_there_stands() -> None:
    world = World()
    stops = await world.begin()
    await stops.stop(NAME)
    before = world.store.writes_by_collection
    world.clock.time += 5
    await stops.stop(NAME)
    assert world.store.writes_by_collection == before
    assert len(world.events) == 1


async def test_what_has_ended_is_not_stopped() -> None:
    world = World(state=experiment(rule=RULE))
    stops = await world.begin(TrialPhase.FAILED)
    with pytest.raises(NotNow, match="it has ended: Failed"):
        await stops.stop(NAME)
    with pytest.raises(NotThere, match="no trial 'nobody'"):
        await stops.stop("nobody")
    assert not world.verdicts


async def test_what_has_been_stopped_early_need_not_be_stopped() -> None:
    closing = ClosingTrial(
        attempt=1,
        request=1,
        phase=TrialPhase.EARLY_STOPPED,
        finished=1,
        reason="",
        message="",
        closed_at=0.0,
    )
    world = World(state=replace(experiment(rule=RULE), closing={"0": closing}))
    stops = await world.begin()
    await stops.stop(NAME)
    assert not world.verdicts


async def test_an_experiment_without_early_stopping_stops_nothing_early() -> None:
    world = World(state=experiment(1))
    stops = await world.begin()
    with pytest.raises(NotNow, match="its experiment has no earlyStopping"):
        await stops.stop(NAME)


MEDIAN = [("min_trials_required", "3"), ("start_step", "2")]


async def fixed_rule(
    name: str,
    settings: list[tuple[str, str]],
    completed: list[tuple[float, ...]],
    objective: ObjectiveType = ObjectiveType.MINIMIZE,
) -> FixedRule | None:
    world = World()
    await world.prepare()
    rules = FixedRules(world.parts().store, Registry())
    rules.check(name, settings)
    trials = [
        SucceededTrial(name=f"t{number}", observed=values)
        for number, values in enumerate(completed)
    ]
    return await rules.rule(name, settings, objective=objective, metric="loss", trials=trials)


# Rules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "completed", "expected"),
    [
        # Means of the first two values: 2, 3, 10. Katib's mean of them would be 5.
        (ObjectiveType.MINIMIZE, [(1.0, 3.0, 9.0), (3.0, 3.0), (10.0,)], 3.0),
        (ObjectiveType.MAXIMIZE, [(1.0, 3.0, 9.0), (3.0, 3.0), (10.0,)], 3.0),
        (ObjectiveType.MINIMIZE, [(1.0,), (2.0,), (3.0,), (8.0,)], 2.5),
        (ObjectiveType.MAXIMIZE, [(-1.0, -2.0), (-2.0,), (0.5, 0.5)], -1.5),
    ],
)
async def test_a_fixed_rule_is_the_true_median_of_the_first_means(
    objective: ObjectiveType, completed: list[tuple[float, ...]], expected: float
) -> None:
    found = await fixed_rule("medianstop", MEDIAN, completed, objective)
    assert found == FixedRule(value=expected, start_step=2)


async def test_there_is_no_rule_before_enough_trials_have_values() -> None:
    assert await fixed_rule("medianstop", MEDIAN, [(1.0,), (2.0,), ()]) is None
    assert await fixed_rule("medianstop", MEDIAN, []) is None


async def test_a_percentile_is_a_fixed_rule_like_the_median() -> None:
    given = [("percentile", "25"), ("min_trials_required", "3"), ("start_step", "2")]
    # Best of the first two: 1, 2, 3, 9; the quarter rank of four is 0.75.
    completed = [(4.0, 1.0, 0.0), (2.0, 2.5), (3.0,), (9.0, 9.0, 1.0)]
    assert await fixed_rule("percentile", given, completed) == FixedRule(value=1.75, start_step=2)
    # Upwards the best are 4, 2.5, 3, 9: three quarters of the way from 9 to 4 ... down.
    found = await fixed_rule("percentile", given, completed, ObjectiveType.MAXIMIZE)
    assert found == FixedRule(value=5.25, start_step=2)
    assert await fixed_rule("percentile", given, completed[:2]) is None


@pytest.mark.parametrize(
    ("objective", "given", "expected"),
    [
        ("minimize", {"upper": "5"}, FixedRule(value=5.0, start_step=0, stops="above")),
        ("minimize", {"lower": "1"}, FixedRule(value=1.0, start_step=0, stops="below")),
        ("minimize", {"lower": "1", "upper": "5"}, FixedRule(value=5, start_step=0, stops="above")),
        ("maximize", {"lower": "1", "upper": "5"}, FixedRule(value=1, start_step=0, stops="below")),
        ("maximize", {"upper": "5"}, FixedRule(value=5.0, start_step=0, stops="above")),
        (
            "maximize",
            {"lower": "1", "start_step": "3"},
            FixedRule(value=1.0, start_step=3, stops="below"),
        ),
    ],
)
async def test_a_threshold_is_a_fixed_rule_from_the_first_trial_on(
    objective: str, given: dict[str, str], expected: FixedRule
) -> None:
    found = await fixed_rule("threshold", list(given.items()), [], ObjectiveType(objective))
    assert found == expected


async def test_patience_is_no_rule_of_katibs() -> None:
    assert await fixed_rule("patience", [("patience", "2")], [(1.0,), (1.0,), (1.0,)]) is None


async def test_trials_of_somebody_else_are_taken_by_what_is_said_of_them() -> None:
    world = World()
    await world.prepare()
    rules = FixedRules(world.parts().store, Registry())
    found = await rules.rule(
        "medianstop",
        [("min_trials_required", "1")],
        objective=ObjectiveType.MINIMIZE,
        metric="loss",
        trials=[
            SucceededTrial(name="theirs", observed=(0.25,)),
            SucceededTrial(name="theirs", observed=(0.25,)),
            SucceededTrial(name="silent", observed=()),
        ],
    )
    assert found == FixedRule(value=0.25, start_step=4)


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("median", [], "unknown algorithm name median"),
        ("medianstop", [("speed", "1")], "unknown setting speed for algorithm medianstop"),
        (
            "medianstop",
            [("min_trials_required", "0")],
            "min_trials_required must be greater than zero (>0)",
        ),
        ("medianstop", [("start_step", "0")], "start_step must be greater or equal than one (>=1)"),
        ("threshold", [], "lower or upper must be set"),
        ("percentile", [], "percentile must be set between zero and 100 (>0, <100)"),
        ("patience", [("patience", "0")], "patience must be set, greater or equal than one (>=1)"),
    ],
)
def test_wrong_settings_are_refused_in_katibs_words(
    name: str, settings: list[tuple[str, str]], why: str
) -> None:
    rules = FixedRules(World().parts().store, Registry())
    with pytest.raises(Refused) as refused:
        rules.check(name, settings)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("medianstop", [("min_trials_required", "5"), ("start_step", "1")]),
        ("percentile", [("percentile", "12.5"), ("interval_steps", "5")]),
        ("threshold", [("lower", "-1"), ("upper", "2"), ("start_step", "2")]),
        ("patience", [("patience", "5"), ("min_delta", "0.01")]),
    ],
)
def test_right_settings_pass(name: str, settings: list[tuple[str, str]]) -> None:
    rules = FixedRules(World().parts().store, Registry())
    rules.check(name, settings)
    with pytest.raises(Refused, match="unknown setting speed"):
        rules.check(name, [*settings, ("speed", "1")])


# Times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "since_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2021-12-02T03:27:27.28721Z", 1_638_415_647_287_210_000),
        ("2021-12-02T03:27:27.123456789+02:00", 1_638_408_447_123_456_789),
        ("1969-12-31T23:59:59.5z", -500_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
    ],
)
def test_a_time_is_read_exactly(text: str, since_ns: int) -> None:
    assert parse_rfc3339_ns(text) == since_ns


@pytest.mark.parametrize(
    "text",
    ["", "noon", "2021-12-02", "2021-13-02T03:27:27Z", "2021-12-02T03:27:27", "2021-12-02T03:27Z"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339_ns(text)


@pytest.mark.parametrize(
    ("at_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_638_415_647_287_210, "2021-12-02T03:27:27.28721Z"),
        (1_638_415_647_000_001, "2021-12-02T03:27:27.000001Z"),
        (-500_000, "1969-12-31T23:59:59.5Z"),
    ],
)
def test_a_time_is_written_with_the_digits_that_it_needs(at_us: int, text: str) -> None:
    assert rfc3339_us(at_us) == text
