"""An objective that is a text, such as DARTS' genotype, from the trial's end to what people see."""

import math
from dataclasses import replace

import pytest

from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import CHUNK
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.contracts.katib.views import experiment_view
from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.ids import chunk_id, run_id, trial_id
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial
from trialbus.kernel.trial import MetricValues, Trial, TrialPhase
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    objective,
    run,
    spec,
    stopped,
    summary,
    with_open,
)
from trialbus.testkit.still_world import UID
from trialbus.testkit.stopping_world import StoppingWorld, react
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed, SeenObservation
from trialbus_experiment.core.trials import closed_trial
from trialbus_gateway.app.metrics import EVERY_POINT, _Joining
from trialbus_gateway.core.experiment_story import tell_experiment
from trialbus_gateway.core.trial_story import TrialFacts, tell_trial
from trialbus_suggestion.adapters.katib_messages import trial_messages
from trialbus_suggestion.core.losses import loss_of

NAN = math.nan


def told(text: str) -> SeenObservation:
    return SeenObservation(
        metrics=(MetricValues(name="loss", min=NAN, max=NAN, latest=NAN, text=text),)
    )


def ended(state: Experiment, **observations: SeenObservation) -> Experiment:
    """Trials t0, t1, ... have ended by themselves with these observations, one after the other."""
    for name, observation in observations.items():
        index = int(name[1:])
        seen = Observed(
            runs={index: run(index)}, observations={index: observation}, answers={1: answer()}
        )
        state = decide(state, seen, NOW).state
    return state


def test_a_trial_with_a_text_has_succeeded_and_the_latest_is_the_best() -> None:
    state = ended(with_open(0, 1, 2), t0=told("Genotype(a)"), t2=told("Genotype(b)"))
    assert state.counts.succeeded == 2
    assert state.best is not None
    assert (state.best.index, state.best.text) == (2, "Genotype(b)")
    assert math.isnan(state.best.value)


def test_a_text_is_better_than_a_number_and_a_later_number_better_than_a_text() -> None:
    number = SeenObservation(metrics=summary(0.5))
    state = ended(with_open(0, 1, 2), t0=number, t1=told("Genotype(a)"))
    assert state.best is not None
    assert state.best.index == 1
    later = ended(state, t2=number).best
    assert later is not None
    assert (later.index, later.value, later.text) == (2, 0.5, "")


def test_a_goal_is_never_reached_by_a_text() -> None:
    goal = spec(objective=objective(goal=0.5))
    state = ended(with_open(0, 1, spec=goal), t0=told("Genotype(a)"))
    assert state.phase is Phase.RUNNING
    assert ended(state, t1=SeenObservation(metrics=summary(0.5))).phase is Phase.ENDING


def test_an_early_stopped_trial_with_a_text_counts() -> None:
    seen = Observed(
        runs={0: stopped(0, "EarlyStopped")},
        observations={0: told("Genotype(a)")},
        answers={1: answer()},
    )
    state = decide(with_open(0), seen, NOW).state
    assert state.counts.early_stopped == 1
    assert state.best is not None
    assert state.best.text == "Genotype(a)"


def closed(observation: SeenObservation) -> Trial:
    state = ended(with_open(0), t0=observation)
    trial = Trial(
        id=trial_id(state.id, 0),
        uid=state.id,
        version=1,
        namespace="ns",
        experiment="exp",
        index=0,
        name="exp-0",
        phase=TrialPhase.CREATED,
        assignments=(),
        conditions=(),
        created_at=NOW,
    )
    return closed_trial(trial, (), state.closing["0"], run(0), observation, state.spec)


def test_its_document_has_no_value_and_its_event_the_text() -> None:
    trial = closed(told("Genotype(a)"))
    assert (trial.phase, trial.value) == (TrialPhase.SUCCEEDED, None)
    assert trial.outbox[-1].data["objective"] == "Genotype(a)"
    assert trial.outbox[-1].data["metrics"] == {"loss": "Genotype(a)"}


def test_algorithms_learn_nothing_from_it() -> None:
    finished = FinishedTrial(
        number=1, index=0, point=("1",), phase=TrialPhase.SUCCEEDED, value=closed(told("a")).value
    )
    assert loss_of(finished, ObjectiveType.MAXIMIZE) is None


def test_katib_sees_the_text_as_the_latest_value_only() -> None:
    state = ended(with_open(0), t0=told("Genotype(a)"))
    optimal = experiment_view(state)["status"]["currentOptimalTrial"]
    assert optimal["observation"]["metrics"] == [
        {"name": "loss", "min": "unavailable", "max": "unavailable", "latest": "Genotype(a)"}
    ]
    mixed = MetricValues(name="loss", min=1.0, max=2.0, latest=NAN, text="Genotype(b)")
    both = ended(with_open(0), t0=SeenObservation(metrics=(mixed,)))
    assert experiment_view(both)["status"]["currentOptimalTrial"]["observation"]["metrics"] == [
        {"name": "loss", "min": "1", "max": "2", "latest": "Genotype(b)"}
    ]


def test_explain_tells_the_text() -> None:
    trial = closed(told("Genotype(a)"))
    [observed] = [
        step
        for step in tell_trial(TrialFacts(trial=trial), NOW).story.chain
        if step.event == "observed"
    ]
    assert observed.message == "loss: latest Genotype(a)"
    state = ended(with_open(0), t0=told("Genotype(a)"))
    assert state.best is not None
    [trials] = [
        step for step in tell_experiment(state, {}, (), NOW).chain if step.event == "trials"
    ]
    assert trials.message.endswith(f"{state.best.name} with loss = Genotype(a)")


@pytest.mark.parametrize("texts", [("", "Genotype(a)", ""), ("Genotype(a)", "", "")])
async def test_stopping_rules_pass_texts_over(texts: tuple[str, ...]) -> None:
    world = StoppingWorld()
    reactor = await world.start()
    await world.open(0)
    run_ = run_id(UID, 0, 1)
    numbers = iter((3.0, 2.0))
    values = tuple(NAN if text else next(numbers) for text in texts)
    chunk = Chunk(
        id=chunk_id(run_, 0),
        uid=UID,
        run=run_,
        version=1,
        from_byte=0,
        to_byte=30,
        series=(
            Series(metric="loss", first_step=1, values=values, times=(1.0, 2.0, 3.0), texts=texts),
        ),
        summaries=(),
        final=False,
        final_run=None,
        stored_at=0.0,
    )
    await world.insert(CHUNKS.name, CHUNK.encode(chunk))
    later = replace(
        chunk,
        id=chunk_id(run_, 30),
        from_byte=30,
        to_byte=40,
        series=(Series(metric="loss", first_step=3, values=(1.0,), times=(4.0,)),),
    )
    await world.insert(CHUNKS.name, CHUNK.encode(later))
    assert await react(reactor) == {}
    assert world.evidence[run_]["values"] == [3.0, 2.0, 1.0]


def test_the_gateway_tells_each_point_as_a_number_or_a_text() -> None:
    joining = _Joining("m", EVERY_POINT)
    texts = Series(metric="m", first_step=1, values=(0.5, NAN), times=(1.0, 2.0), texts=("", "a"))
    assert joining.join(texts) == 2
    joining.join(Series(metric="m", first_step=2, values=(1.0,), times=(1.0,)))
    assert joining.joined().values == [0.5, "a", 1.0]
    assert joining.joined().steps == [1, 2, 3]


def test_an_algorithm_on_another_server_is_told_the_text_as_by_katib() -> None:
    trial = replace(closed(told("Genotype(a)")), finished=1)
    [message] = trial_messages(with_open(0), [("exp-0", trial)], watermark=1)
    assert message.status.condition == api_pb2.TrialStatus.SUCCEEDED
    assert [(it.name, it.value) for it in message.status.observation.metrics] == [
        ("loss", "Genotype(a)")
    ]
