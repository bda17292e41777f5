"""A stopping rule that fails: said once, seen in `explain` and among events; others go on."""

import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.catalogue import Catalogue, StoppingRuleDescription
from trialbus.kernel.evidence import RuleFailure
from trialbus.kernel.ids import run_id
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Document
from trialbus.runtime import catalogue as runtime_catalogue
from trialbus.testkit.gateway_documents import experiment as shown_experiment
from trialbus.testkit.still_world import UID
from trialbus.testkit.stopping_world import StoppingWorld, react, with_two_completed
from trialbus_early_stopping.adapters.time_limit import time_limit
from trialbus_early_stopping.app.rule_guard import RuleFailed, check_verdict, guarded, no_limit
from trialbus_early_stopping.core.catalogue import BUILT_IN
from trialbus_early_stopping.core.evidence import Verdict, VerdictEvidence
from trialbus_early_stopping.core.rule import ComparingRule, Curve, Settings, StoppingRule
from trialbus_gateway.adapters.kubernetes.event_objects import Involved, events_of
from trialbus_gateway.core.experiment_story import tell_experiment
from trialbus_gateway.core.rule_failures import with_rule_failure

KEY = f"{UID}.rule"


class Raising(StoppingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        raise ArithmeticError(f"no square root at step {step}")


class Unlearned(ComparingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)

    def learn(self, curve: Curve) -> None:
        raise KeyError("learned")

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        return None


class Stillborn(Raising):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        raise ValueError("no such distance")


class Endless(Raising):
    def judge(self, curve: Curve, step: int) -> Verdict | None:
        while True:
            try:
                math.factorial(100)
            except Exception:  # noqa: BLE001 - as bad rules do
                continue


class Nonsense(Raising):
    def judge(self, curve: Curve, step: int) -> Any:
        return self.verdict(curve, step, stop=True, reason="so", numbers={"a.b": 1.0})


class Standing(Unlearned):
    """Would be told the same trials for ever."""

    def add(self, trial: str, values: Sequence[float], finished: int) -> None: ...


class Skipping(Unlearned):
    def learn(self, curve: Curve) -> None: ...

    def pass_over(self, finished: int) -> None:
        if finished == 3:
            raise LookupError("no third one")
        super().pass_over(finished)


class Foreign:
    """Judges, but is no StoppingRule."""

    def __init__(self, settings: Settings, objective: ObjectiveType) -> None: ...

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        return None


RULES = [
    StoppingRuleDescription(
        name=kind.__name__.lower(), implementation=f"{__name__}:{kind.__name__}"
    )
    for kind in (Raising, Unlearned, Stillborn, Endless, Nonsense, Standing, Skipping, Foreign)
]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Catalogue(algorithms={}, stopping_rules={it.name: it for it in (*BUILT_IN, *RULES)})
    monkeypatch.setattr(runtime_catalogue, "installed_catalogue", lambda: known)
    deadline_s(monkeypatch, 10.0)


def deadline_s(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("trialbus_early_stopping.main.RULE_DEADLINE_S", seconds)


async def with_rule(name: str) -> StoppingWorld:
    world = await with_two_completed(AlgorithmSpec(name=name))
    await world.report(2, 9.0)
    return world


def failure_in(world: StoppingWorld) -> Document:
    return world.evidence[KEY]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("raising", "ArithmeticError: no square root at step 1"),
        ("unlearned", "KeyError: 'learned'"),
        ("stillborn", "ValueError: no such distance"),
        ("endless", "gave no verdict in 0.2 s"),
        ("nonsense", "ValueError: not the name of a number: 'a.b'"),
        ("standing", "ValueError: stays at finish number 0, although it was told 1"),
        ("foreign", "TypeError: its factory gave Foreign, not a StoppingRule"),
    ],
)
async def test_a_rule_that_fails_is_said_once_and_left_alone(
    rule: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule == "endless":
        deadline_s(monkeypatch, 0.2)
    world = await with_rule(rule)
    reactor = await world.start()
    assert await react(reactor) == {}
    failure = failure_in(world)
    assert (failure["rule"], failure["reason"]) == (rule, reason)
    assert not world.verdicts
    world.clock.time += 10
    await world.report(2, 8.0)
    await world.report(3, 8.0)
    # Neither this process nor one that starts anew asks it again, or says it again.
    for each in (reactor, await world.start()):
        assert await react(each) == {}
    assert failure_in(world) == failure
    assert not world.verdicts


async def test_a_rule_that_cannot_pass_over_a_failed_trial_has_failed() -> None:
    world = await with_rule("skipping")
    await world.close(2, TrialPhase.FAILED)
    assert await react(await world.start()) == {}
    assert failure_in(world)["reason"] == "LookupError: no third one"


async def test_others_are_judged_in_the_same_group() -> None:
    world = await with_two_completed(AlgorithmSpec(name="threshold", settings=(("upper", "1"),)))
    await world.report(2, 9.0)
    other = replace(
        world.experiment,
        id="aaa",
        alive_name="team/other",
        spec=replace(world.experiment.spec, early_stopping=AlgorithmSpec(name="stillborn")),
    )
    await world.put(other)
    reactor = await world.start()
    assert await reactor.react(["aaa", UID]) == {}
    assert world.verdicts.keys() == {2}
    assert world.evidence.keys() >= {"aaa.rule", run_id(UID, 2, 1)}


def test_an_alarm_leaves_everything_as_it_was() -> None:
    before = signal.getsignal(signal.SIGALRM)
    timer = signal.getitimer(signal.ITIMER_REAL)
    with guarded(time_limit(10.0)):
        assert signal.getsignal(signal.SIGALRM) != before
    assert signal.getsignal(signal.SIGALRM) == before
    assert bool(signal.getitimer(signal.ITIMER_REAL)[0]) == bool(timer[0])


def test_what_it_says_can_be_stored() -> None:
    with pytest.raises(RuleFailed, match=r"^ValueError: a\?$"), guarded(no_limit):
        raise ValueError("a\ud800")


@pytest.mark.parametrize("code", ["sys.exit(2)", "raising()"])
def test_whatever_a_rule_raises_is_its_failure(code: str) -> None:
    def raising() -> None:
        raise RecursionError

    with pytest.raises(RuleFailed, match=r"SystemExit: 2|RecursionError"), guarded(no_limit):
        eval(code, {"sys": sys, "raising": raising})


@pytest.mark.parametrize(
    ("reason", "numbers"),
    [
        (7, {}),
        ("x" * 2000, {}),
        ("so", {"$a": 1.0}),
        ("so", {"": 1.0}),
        ("so", {"a": "1"}),
        ("\ud800", {}),
        ("so", {"\ud800": 1.0}),
    ],
)
def test_a_verdict_that_cannot_be_stored_is_none(reason: Any, numbers: Any) -> None:
    evidence = VerdictEvidence(best=1.0, median=None, completed=0, watermark=0, numbers=numbers)
    with pytest.raises((TypeError, ValueError)):
        check_verdict(Verdict(stop=True, step=1, reason=reason, evidence=evidence))


@pytest.mark.parametrize(("best", "median"), [("1", None), (None, 1.0), (1.0, [2.0])])
def test_what_a_verdict_compares_are_numbers(best: Any, median: Any) -> None:
    evidence = VerdictEvidence(best=best, median=median, completed=0, watermark=0)
    with pytest.raises(TypeError, match="is no number"):
        check_verdict(Verdict(stop=True, step=1, reason="so", evidence=evidence))


def test_it_is_told_in_the_story_and_as_a_warning() -> None:
    state = shown_experiment()
    failure = RuleFailure(
        id=KEY, uid=UID, version=1, rule="raising", reason="ArithmeticError: no", failed_at=500.0
    )
    story = with_rule_failure(tell_experiment(state, {}, [], 1000.0), failure)
    [step] = [it for it in story.chain if it.reason == "StoppingRuleFailed"]
    assert step.message == "raising stops no more trials of this experiment: ArithmeticError: no"
    involved = Involved(
        api_version="kubeflow.org/v1beta1",
        kind="Experiment",
        namespace="team",
        name="tune",
        uid=UID,
    )
    [event] = [
        it for it in events_of(involved, story, 1000.0) if it["reason"] == "StoppingRuleFailed"
    ]
    assert event["type"] == "Warning"
