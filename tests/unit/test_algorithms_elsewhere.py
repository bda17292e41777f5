"""An algorithm on another server is one of ours: Katib's Suggestion, called by real gRPC."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from trialbus.adapters.grpc import handlers_of, serving_grpc
from trialbus.contracts.collections import ANSWERS, TRIALS
from trialbus.contracts.documents import ANSWER, TRIAL
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import Refused, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import Answer, Mark, PointsRequest
from trialbus.kernel.trial import Assignment, MetricValues, Trial, TrialPhase
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.parts import Beside
from trialbus.runtime.settings import Settings
from trialbus.testkit.still_world import UID, StillWorld
from trialbus.testkit.still_world import experiment as living
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.adapters.remote import GrpcAlgorithms
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.core.registry import Registry

Respond = Callable[[Any], Awaitable[Any]]
STATUS = api_pb2.TrialStatus


@asynccontextmanager
async def listening(handlers: grpc.GenericRpcHandler) -> AsyncIterator[str]:
    async with serving_grpc([handlers], ready=lambda: True, host="127.0.0.1", port=0) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def scripted(replies: Mapping[str, Respond]) -> AsyncIterator[str]:
    """A Katib algorithm that answers as it is told to."""

    async def fine(_request: Any) -> Any:
        return api_pb2.ValidateAlgorithmSettingsReply()

    responds: dict[str, Respond] = {"ValidateAlgorithmSettings": fine, **replies}
    async with listening(handlers_of("Suggestion", responds)) as address:
        yield address


def tuned(*, number: int = 1, first: int = 0, count: int = 2, watermark: int = 0) -> Experiment:
    state = living()
    request = PointsRequest(
        number=number, first=first, count=count, watermark=watermark, asked_at=900.0
    )
    spec = replace(
        state.spec,
        algorithm=AlgorithmSpec(name="elsewhere", settings=(("eta", "3"),)),
        parameters=(Parameter(name="x", type="double", min="0", max="1"),),
        objective=Objective(type=ObjectiveType.MAXIMIZE, metric="score", goal=0.5),
    )
    return replace(state, spec=spec, requests=(request,), next_request=number + 1)


def trial(index: int, *, finished: int | None, value: float = 0.0, **changes: Any) -> Trial:
    known = Trial(
        id=f"{UID}.{index}",
        uid=UID,
        version=1,
        namespace="team",
        experiment="tune",
        index=index,
        name=f"tune-{index}",
        phase=TrialPhase.CREATED if finished is None else TrialPhase.SUCCEEDED,
        assignments=(Assignment(name="x", value=f"0.{index}"),),
        conditions=(),
        created_at=0.0,
        completed_at=None if finished is None else 60.0,
        finished=finished,
        value=None if finished is None else value,
        observation=()
        if finished is None
        else (MetricValues(name="score", min=value - 1, max=value, latest=value - 2),),
    )
    return replace(known, **changes)


async def answered(
    address: str, state: Experiment, *trials: Trial, before: tuple[Answer, ...] = ()
) -> Answer:
    """The stored answer to the request of `state`."""
    world = StillWorld()
    await world.prepare(state)
    for it in trials:
        await world.insert(TRIALS.name, TRIAL.encode(it))
    for told in before:
        await world.insert(ANSWERS.name, ANSWER.encode(told))
    settings = Settings.model_validate({"remote_algorithms": {"elsewhere": address}})
    remote = GrpcAlgorithms(settings.remote_algorithms, timeout_s=2)
    catalogue = catalogue_of(settings)
    service = Answering(world.parts(), InlineCompute(Registry(())), catalogue, remote)
    try:
        [beside] = (await service.react([UID])).values()
        assert isinstance(beside, Beside)
        await beside.work()
    finally:
        await remote.close()
    [answer] = [
        it
        for it in map(ANSWER.decode, world.store.documents("answers"))
        if it.number == state.requests[-1].number
    ]
    return answer


class Noting:
    """Answers with one point each, and keeps what it was asked."""

    def __init__(self, reply: api_pb2.GetSuggestionsReply) -> None:
        self.reply = reply
        self.requests: list[api_pb2.GetSuggestionsRequest] = []

    async def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        return self.reply


def reply_of(*values: str, names: tuple[str, ...] = ()) -> api_pb2.GetSuggestionsReply:
    reply = api_pb2.GetSuggestionsReply()
    for index, value in enumerate(values):
        said = reply.parameter_assignments.add(trial_name=names[index] if names else "")
        said.assignments.add(name="x", value=value)
    return reply


async def test_it_is_told_the_experiment_and_its_points_become_trials() -> None:
    algorithm = Noting(reply_of("0.25", "0.75"))
    async with scripted({"GetSuggestions": algorithm}) as address:
        answer = await answered(address, tuned())
    assert answer.points == (("0.25",), ("0.75",))
    assert (answer.refused, answer.exhausted) == (None, False)
    [request] = algorithm.requests
    assert (request.current_request_number, request.total_request_number) == (2, 2)
    spec = request.experiment.spec
    assert request.experiment.name == "tune"
    assert spec.parameter_specs.parameters[0].parameter_type == api_pb2.DOUBLE
    assert spec.parameter_specs.parameters[0].feasible_space.distribution == api_pb2.UNIFORM
    assert (spec.objective.type, spec.objective.goal) == (api_pb2.MAXIMIZE, 0.5)
    assert [(it.name, it.value) for it in spec.algorithm.algorithm_settings] == [("eta", "3")]


async def test_it_is_told_every_trial_that_says_something_as_katib_does() -> None:
    """Index 4 finished after the watermark: it runs, as far as this request may know."""
    algorithm = Noting(reply_of("0.5"))
    trials = (
        trial(0, finished=1, value=0.5),
        trial(1, finished=2, phase=TrialPhase.FAILED, observation=()),
        trial(2, finished=3, phase=TrialPhase.METRICS_UNAVAILABLE, observation=()),
        trial(3, finished=4, phase=TrialPhase.EARLY_STOPPED, value=0.25),
        trial(4, finished=7, value=9.0),
        trial(5, finished=None),
        trial(6, finished=5, value=math.nan),
        trial(7, finished=6, phase=TrialPhase.EARLY_STOPPED, observation=()),
    )
    state = tuned(number=3, first=8, count=1, watermark=6)
    async with scripted({"GetSuggestions": algorithm}) as address:
        await answered(address, state, *trials)
    told = {
        it.spec.parameter_assignments.assignments[0].value: (
            it.status.condition,
            [(metric.name, metric.value) for metric in it.status.observation.metrics],
        )
        for it in algorithm.requests[0].trials
    }
    assert told == {
        "0.0": (STATUS.SUCCEEDED, [("score", "0.5")]),
        "0.1": (STATUS.FAILED, []),
        "0.3": (STATUS.EARLYSTOPPED, [("score", "0.25")]),
        "0.4": (STATUS.RUNNING, []),
        "0.5": (STATUS.RUNNING, []),
        "0.6": (STATUS.FAILED, []),
    }
    assert algorithm.requests[0].trials[0].name == trial_name("tune", UID, 0)
    assert algorithm.requests[0].trials[0].status.completion_time == "1970-01-01T00:01:00Z"


async def test_its_settings_and_names_are_stored_and_told_to_it_again() -> None:
    reply = reply_of("0.25", names=("tune-of-its-own",))
    reply.parameter_assignments[0].labels["generation"] = "1"
    reply.algorithm.algorithm_settings.add(name="rung", value="1")
    algorithm = Noting(reply)
    async with scripted({"GetSuggestions": algorithm}) as address:
        first = await answered(address, tuned(count=1))
        assert (first.names, first.settings) == (("tune-of-its-own",), (("rung", "1"),))
        assert first.marks == (Mark(labels=(("generation", "1"),)),)
        state = tuned(number=2, first=1, count=1)
        marked = trial(0, finished=None, labels=(("generation", "1"),))
        await answered(address, state, marked, before=(first,))
    told = algorithm.requests[-1]
    settings = told.experiment.spec.algorithm.algorithm_settings
    assert [(it.name, it.value) for it in settings] == [("rung", "1")]
    assert [it.name for it in told.trials] == ["tune-of-its-own"]
    assert [dict(it.spec.labels) for it in told.trials] == [{"generation": "1"}]


async def test_no_points_mean_that_there_are_no_more() -> None:
    async with scripted({"GetSuggestions": Noting(reply_of())}) as address:
        answer = await answered(address, tuned())
    assert (answer.points, answer.exhausted, answer.refused) == ((), True, None)


async def test_what_it_says_of_its_settings_fails_the_experiment_before_a_trial() -> None:
    async def refuse(_request: Any) -> Any:
        raise Refused([])

    algorithm = Noting(reply_of("0.5"))
    replies: dict[str, Respond] = {
        "ValidateAlgorithmSettings": refuse, "GetSuggestions": algorithm,
    }  # fmt: skip
    async with scripted(replies) as address:
        answer = await answered(address, tuned())
    assert answer.refused is not None
    assert algorithm.requests == []


async def test_an_algorithm_that_breaks_is_named_with_its_address() -> None:
    async def broken(_request: Any) -> Any:
        raise KeyError("its own fault")

    async with scripted({"GetSuggestions": broken}) as address:
        answer = await answered(address, tuned())
    assert answer.refused is not None
    assert f"elsewhere at {address} failed" in answer.refused


async def test_points_with_other_parameters_are_refused() -> None:
    reply = api_pb2.GetSuggestionsReply()
    reply.parameter_assignments.add().assignments.add(name="z", value="1")
    async with scripted({"GetSuggestions": Noting(reply)}) as address:
        answer = await answered(address, tuned())
    assert answer.refused is not None
    assert "values for z, not for x" in answer.refused


async def test_more_points_than_were_asked_for_are_refused() -> None:
    async with scripted({"GetSuggestions": Noting(reply_of("0.1", "0.2", "0.3"))}) as address:
        answer = await answered(address, tuned(count=2))
    assert answer.points == ()
    assert answer.refused is not None
    assert "gave 3 points, not 2" in answer.refused


async def test_an_answer_that_no_document_can_hold_is_refused() -> None:
    async with scripted({"GetSuggestions": Noting(reply_of("1" * 5 * 1024**2))}) as address:
        answer = await answered(address, tuned())
    assert answer.points == ()
    assert answer.refused is not None
    assert "more than 4194304" in answer.refused


async def test_a_server_that_is_away_is_asked_again() -> None:
    async with scripted({"GetSuggestions": Noting(reply_of("0.5"))}) as address:
        pass
    with pytest.raises(Transient):
        await answered(address, tuned())
