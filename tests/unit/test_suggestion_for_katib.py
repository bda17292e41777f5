"""Katib's Suggestion over our own algorithms, by real gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from trialbus.adapters.grpc import call as call_service
from trialbus.adapters.grpc import open_channel, serving_grpc
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import Refused
from trialbus.runtime.catalogue import installed_catalogue
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.adapters.suggestion_server import Suggestions
from trialbus_suggestion.app.outside import OutsideAnswering
from trialbus_suggestion.core.registry import Registry

Respond = Callable[[Any], Awaitable[Any]]
STATUS = api_pb2.TrialStatus


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def new_id(self) -> str:
        self.count += 1
        return f"id-{self.count}"


@asynccontextmanager
async def listening(handlers: grpc.GenericRpcHandler) -> AsyncIterator[str]:
    async with serving_grpc([handlers], ready=lambda: True, host="127.0.0.1", port=0) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def our_own() -> AsyncIterator[str]:
    catalogue = installed_catalogue()
    compute = InlineCompute(Registry(tuple(catalogue.algorithms.values())))
    async with listening(
        Suggestions(OutsideAnswering(compute, catalogue, Counter())).handlers()
    ) as address:
        yield address


async def call(address: str, method: str, request: Any) -> Any:
    async with open_channel(address) as channel:
        return await call_service(channel, "Suggestion", method, request, timeout_s=10)


def experiment(
    *parameters: api_pb2.ParameterSpec, algorithm: str = "random", settings: Mapping[str, str] = {}
) -> api_pb2.Experiment:
    message = api_pb2.Experiment(name="tune")
    message.spec.parameter_specs.parameters.extend(parameters or [double("x", "0", "1")])
    message.spec.objective.type = api_pb2.MINIMIZE
    message.spec.objective.objective_metric_name = "loss"
    message.spec.algorithm.algorithm_name = algorithm
    for name, value in settings.items():
        message.spec.algorithm.algorithm_settings.add(name=name, value=value)
    return message


def double(name: str, low: str, high: str, step: str = "") -> api_pb2.ParameterSpec:
    space = api_pb2.FeasibleSpace(min=low, max=high, step=step)
    return api_pb2.ParameterSpec(name=name, parameter_type=api_pb2.DOUBLE, feasible_space=space)


def told_trial(name: str, x: str, loss: str, condition: int = STATUS.SUCCEEDED) -> api_pb2.Trial:
    trial = api_pb2.Trial(name=name)
    trial.spec.parameter_assignments.assignments.add(name="x", value=x)
    trial.status.condition = condition  # type: ignore[assignment]
    trial.status.completion_time = "2026-01-01T00:00:00Z"
    trial.status.observation.metrics.add(name="loss", value=loss)
    return trial


def asked(
    message: api_pb2.Experiment, *trials: api_pb2.Trial, count: int, total: int
) -> api_pb2.GetSuggestionsRequest:
    return api_pb2.GetSuggestionsRequest(
        experiment=message, trials=trials, current_request_number=count, total_request_number=total
    )


def points(reply: Any) -> list[dict[str, str]]:
    return [{it.name: it.value for it in said.assignments} for said in reply.parameter_assignments]


async def test_katib_gets_exactly_the_points_that_it_asks_for_and_the_same_again() -> None:
    async with our_own() as address:
        request = asked(experiment(double("x", "2", "3"), double("y", "0", "1")), count=4, total=4)
        first, again = [points(await call(address, "GetSuggestions", request)) for _ in range(2)]
        later = points(
            await call(
                address,
                "GetSuggestions",
                asked(experiment(double("x", "2", "3"), double("y", "0", "1")), count=4, total=8),
            )
        )
    assert len(first) == 4
    assert all(2 <= float(it["x"]) <= 3 and 0 <= float(it["y"]) <= 1 for it in first)
    assert first == again
    assert first != later


async def test_points_of_the_trials_so_far_are_not_given_again() -> None:
    grid = experiment(double("x", "0", "0.5", step="0.25"))
    known = [told_trial("a", "0", "1"), told_trial("b", "0.25", "2", STATUS.RUNNING)]
    async with our_own() as address:
        reply = await call(address, "GetSuggestions", asked(grid, *known, count=1, total=3))
        spent = await call(
            address, "GetSuggestions", asked(grid, *known, told_trial("c", "0.5", "3"),
                                             count=1, total=4)
        )  # fmt: skip
    assert points(reply) == [{"x": "0.5"}]
    assert points(spent) == []


@pytest.mark.parametrize("algorithm", ["random", "grid", "sobol"])
async def test_trials_that_are_not_told_again_make_no_point_come_twice(algorithm: str) -> None:
    """Katib leaves out trials without metrics; the indexes of the others are shifted by them."""
    message = experiment(double("x", "0", "999", step="1"), algorithm=algorithm)
    async with our_own() as address:
        six = points(await call(address, "GetSuggestions", asked(message, count=6, total=6)))
        told = [told_trial(f"t{i}", six[i]["x"], "1") for i in (0, 1, 4)]
        more = asked(message, *told, count=3, total=9)
        first, again = [points(await call(address, "GetSuggestions", more)) for _ in range(2)]
    assert first == again
    assert all(point not in six for point in first)


async def test_points_are_those_of_one_request_however_many_it_asks_for() -> None:
    for algorithm in ("random", "grid", "sobol"):
        message = experiment(double("x", "0", "999", step="1"), algorithm=algorithm)
        async with our_own() as address:
            six = points(await call(address, "GetSuggestions", asked(message, count=6, total=6)))
            told = [told_trial(f"t{i}", six[i]["x"], "1") for i in range(2)]
            later = await call(address, "GetSuggestions", asked(message, *told, count=4, total=6))
        assert points(later) == six[2:]


async def test_results_steer_a_model_and_points_from_elsewhere_are_passed_over() -> None:
    """Of 20 trials the loss is the distance to 0.9; the model looks there."""
    bayes = experiment(
        algorithm="bayesianoptimization", settings={"n_initial_points": "5", "random_state": "1"}
    )
    trials = [told_trial(f"t{i}", f"{i / 20}", f"{abs(i / 20 - 0.9)}") for i in range(20)]
    trials.append(told_trial("outside", "17", "-5"))
    trials.append(told_trial("unknown", "0.5", "unavailable"))
    async with our_own() as address:
        reply = await call(address, "GetSuggestions", asked(bayes, *trials, count=1, total=23))
    [point] = points(reply)
    assert abs(float(point["x"]) - 0.9) < 0.2


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (experiment(settings={"random_state": "-1"}), "random_state should be great or equal"),
        (experiment(settings={"nonsense": "1"}), "unknown setting nonsense for algorithm random"),
        (experiment(algorithm="nonsense"), "nonsense"),
        (experiment(double("x", "3", "2")), "x"),
        (experiment(double("x", "0", "1"), double("x", "0", "1")), "x"),
    ],
)
async def test_what_is_wrong_is_an_invalid_argument_in_katibs_words(
    message: api_pb2.Experiment, told: str
) -> None:
    async with our_own() as address:
        request = api_pb2.ValidateAlgorithmSettingsRequest(experiment=message)
        with pytest.raises(Refused, match=told):
            await call(address, "ValidateAlgorithmSettings", request)
        with pytest.raises(Refused, match=told):
            await call(address, "GetSuggestions", asked(message, count=1, total=1))


async def test_a_count_out_of_bounds_is_refused() -> None:
    async with our_own() as address:
        for count in (0, -1, 10**6):
            with pytest.raises(Refused, match="current_request_number"):
                await call(address, "GetSuggestions", asked(experiment(), count=count, total=1))


def rung_trial(name: str, point: Mapping[str, str], loss: str, minute: int) -> api_pb2.Trial:
    """One that took the minute before `minute`."""
    trial = api_pb2.Trial(name=name)
    for parameter, value in point.items():
        trial.spec.parameter_assignments.assignments.add(name=parameter, value=value)
    trial.status.condition = STATUS.SUCCEEDED
    trial.status.start_time = f"2026-01-01T00:{minute - 1:02}:00Z"
    trial.status.completion_time = f"2026-01-01T00:{minute:02}:00Z"
    trial.status.observation.metrics.add(name="loss", value=loss)
    return trial


async def test_rungs_are_understood_without_marks_and_beyond_the_range_of_the_resource() -> None:
    """Katib tells no labels, and trials in any order. The first bracket has 4, 2 and 1 trials."""
    space = api_pb2.FeasibleSpace(min="1", max="1")
    epochs = api_pb2.ParameterSpec(name="epochs", parameter_type=api_pb2.INT, feasible_space=space)
    settings = {"r_l": "4", "eta": "2", "resource_name": "epochs"}
    message = experiment(double("x", "0", "1"), epochs, algorithm="hyperband", settings=settings)
    async with our_own() as address:
        ask = asked(message, count=4, total=4)
        first = points(await call(address, "GetSuggestions", ask))
        # The second is the best, then the fourth.
        low = [
            rung_trial(f"t{i}", point, loss, minute=1)
            for i, (point, loss) in enumerate(zip(first, ("3", "1", "4", "2"), strict=True))
        ]
        ask = asked(message, *low, count=2, total=6)
        second = points(await call(address, "GetSuggestions", ask))
        middle = [
            rung_trial(f"u{i}", point, str(2 - i), minute=2) for i, point in enumerate(second)
        ]
        ask = asked(message, *middle, *low, count=1, total=7)
        third = points(await call(address, "GetSuggestions", ask))
    assert [it["epochs"] for it in (*first, *second, *third)] == ["1"] * 4 + ["2"] * 2 + ["4"]
    assert [it["x"] for it in second] == [first[1]["x"], first[3]["x"]]
    assert third == [{"x": first[3]["x"], "epochs": "4"}]


def nas_experiment(algorithm: str, operation: str) -> api_pb2.Experiment:
    message = api_pb2.Experiment(name="search")
    message.spec.objective.type = api_pb2.MAXIMIZE
    message.spec.objective.objective_metric_name = "result"
    message.spec.algorithm.algorithm_name = algorithm
    graph = message.spec.nas_config.graph_config
    graph.num_layers = 2
    graph.input_sizes.extend([8, 8, 1])
    graph.output_sizes.append(10)
    added = message.spec.nas_config.operations.operation.add(operation_type=operation)
    sizes = added.parameter_specs.parameters.add(
        name="filter_size", parameter_type=api_pb2.CATEGORICAL
    )
    sizes.feasible_space.list.extend(["3", "5"])
    return message


@pytest.mark.parametrize(
    ("algorithm", "operation", "names"),
    [
        ("darts", "max_pooling", {"algorithm-settings", "search-space", "num-layers"}),
        ("enas", "convolution", {"architecture", "nn_config"}),
    ],
)
async def test_architecture_searches_give_all_their_values(
    algorithm: str, operation: str, names: set[str]
) -> None:
    request = api_pb2.GetSuggestionsRequest(
        experiment=nas_experiment(algorithm, operation),
        current_request_number=2,
        total_request_number=2,
    )
    async with our_own() as address:
        first = await call(address, "GetSuggestions", request)
        request.total_request_number = 3
        request.current_request_number = 1
        for number, given in enumerate(first.parameter_assignments):
            trial = request.trials.add(name=f"search-{number}")
            trial.spec.parameter_assignments.assignments.extend(given.assignments)
            trial.status.condition = STATUS.SUCCEEDED
            trial.status.completion_time = f"2026-01-01T00:00:0{number}Z"
            value = "Genotype()" if algorithm == "darts" else "0.5"
            trial.status.observation.metrics.add(name="result", value=value)
        later = await call(address, "GetSuggestions", request)
    assert len(first.parameter_assignments) == 2
    for point in (*first.parameter_assignments, *later.parameter_assignments):
        assert {it.name for it in point.assignments} == names
    if algorithm == "darts":
        assert later.parameter_assignments[0] == first.parameter_assignments[0]
