"""ENAS: what it learns from trials, its points, and what it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from trialbus.kernel.catalogue import Submission, check_settings, read_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, NasConfig, NasOperation
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus_suggestion.core.descriptions.enas import ENAS
from trialbus_suggestion.core.enas import EnasSearch
from trialbus_suggestion.core.enas_architectures import Architecture, ArchitectureSpace

QUICK = {"learning_rate": 0.005, "hidden_size": 16, "train_steps": 10}
BOTH = ("architecture", "nn_config")


def config(layers: int = 3, *operations: NasOperation) -> NasConfig:
    filters = Parameter(name="num_filter", type="int", min="1", max="4")
    return NasConfig(
        num_layers=layers,
        input_sizes=(8, 8, 1),
        output_sizes=(10,),
        operations=operations or (NasOperation(type="convolution", parameters=(filters,)),),
    )


def subject(nas: NasConfig, **settings: float) -> Subject:
    given = tuple((f"controller_{name}", str(value)) for name, value in settings.items())
    return Subject(description=ENAS, settings=given, nas=nas, names=BOTH)


def test_a_rewarded_operation_becomes_likely() -> None:
    def rewards_first(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
        return TrialPhase.SUCCEEDED, -3 * share_of_first(point)

    run = Run(subject(config(), **QUICK), study(), rewards_first)
    run.rounds(40, 2)
    shares = [share_of_first(point) for point in run.points]
    # A quarter by chance. Of the 512 architectures 8 have nothing else; each comes once.
    assert np.mean(shares[-30:]) > 0.6
    assert sum(share == 1 for share in shares) >= 7


def share_of_first(point: PointTexts) -> float:
    """Of the layers that are the operation 0."""
    rows = json.loads(point[0])
    return float(np.mean([row[0] == 0 for row in rows]))


def study(nas: NasConfig | None = None, **changes: object) -> Study:
    chosen = subject(nas or config(), **QUICK)
    return replace(chosen.study(), **changes)  # type: ignore[arg-type]


def test_a_late_result_is_put_into_its_place() -> None:
    """Of 150 trials the fifth ends last: the controller is the same as if all had come in order,
    and few earlier ones are kept."""
    nas = config()
    quickest = subject(nas, hidden_size=4, train_steps=1, learning_rate=0.05).study()
    searches = [EnasSearch(quickest) for _ in range(2)]
    space = ArchitectureSpace.of(nas)
    points = [tuple(space.texts(space.at(index))[name] for name in BOTH) for index in range(150)]
    in_order = [finished(index, point, float(index % 7)) for index, point in enumerate(points)]
    late = [*in_order[:4], *in_order[5:], in_order[4]]
    for search, trials in zip(searches, (in_order, late), strict=True):
        search.restore(points)
        for at in range(0, 150, 30):
            search.tell(trials[at : at + 30])
    assert ask(searches[0], 5) == ask(searches[1], 5)
    assert len(searches[1]._learners) < 20


def finished(index: int, point: PointTexts, value: float | None) -> FinishedTrial:
    phase = TrialPhase.FAILED if value is None else TrialPhase.SUCCEEDED
    return FinishedTrial(number=index + 1, index=index, point=point, phase=phase, value=value)


def ask(search: EnasSearch, count: int) -> tuple[PointTexts, ...]:
    request = ProposalRequest(number=9, first=150, count=count, watermark=150, seed=4)
    return search.propose(request, Random(4)).points


def test_operations_that_fail_become_rare() -> None:
    def fails_first(index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
        if share_of_first(point):
            return TrialPhase.FAILED, None
        return TrialPhase.SUCCEEDED, float(index % 5)

    run = Run(subject(config(), **QUICK), study(), fails_first)
    run.rounds(40, 2)
    assert np.mean([share_of_first(point) for point in run.points[-20:]]) < 0.15


def test_a_small_space_is_drawn_completely_and_then_spent() -> None:
    run = Run(subject(config(2), hidden_size=4, train_steps=1), study(config(2)))
    run.rounds(16, 2)
    assert len(set(run.points)) == 32
    assert run.ask(1) == ()
    assert run.exhausted


def test_duplicates_come_where_they_are_allowed() -> None:
    allowing = AlgorithmSpec(name="enas", settings=(("duplicates", "allow"),))
    run = Run(subject(config(1)), study(config(1), algorithm=allowing))
    run.rounds(5, 2)
    assert len(run.points) == 10
    assert len(set(run.points)) <= 4


def choices(kind: str, *values: str) -> NasOperation:
    parameter = Parameter(name="p", type="categorical", list=values)
    return NasOperation(type=kind, parameters=(parameter,))


def test_points_are_written_as_katibs_trial_images_read_them() -> None:
    """By hand, from Katib's service: operations are numbered in the order of their product."""
    filters = Parameter(name="num_filter", type="categorical", list=("32", "48"))
    sizes = Parameter(name="size", type="int", min="3", max="5", step="2")
    rate = Parameter(name="rate", type="double", min="0.1", max="0.3", step="0.1")
    chosen = Parameter(name="stride", type="discrete", list=("1", "2"))
    space = ArchitectureSpace.of(
        config(
            2,
            NasOperation(type="convolution", parameters=(filters, sizes)),
            NasOperation(type="reduction", parameters=(rate, chosen)),
        )
    )
    assert len(space.operations) == 4 + 6
    texts = space.texts(Architecture(operations=(9, 1), skips=((), (1,))))
    assert texts == {
        "architecture": "[[9], [1, 1]]",
        "nn_config": "{'num_layers': 2, 'input_sizes': [8, 8, 1], 'output_sizes': [10], "
        "'embedding': {'9': {'opt_id': 9, 'opt_type': 'reduction', "
        "'opt_params': {'rate': 0.3, 'stride': '2'}}, "
        "'1': {'opt_id': 1, 'opt_type': 'convolution', "
        "'opt_params': {'num_filter': '32', 'size': 5}}}}",
    }


def test_architectures_are_numbered_and_read_back() -> None:
    space = ArchitectureSpace.of(config(3))
    assert space.cardinality() == 4**3 * 2**3
    every = [space.at(index) for index in range(space.cardinality())]
    assert len(set(every)) == len(every)
    assert all(space.parse(space.texts(each)["architecture"]) == each for each in every)
    for text in ("[[0], [1, 0]]", "[[4], [0, 0], [0, 0, 0]]", "[[0], [0, 2], [0, 0, 0]]"):
        with pytest.raises(ValueError, match="no architecture"):
            space.parse(text)


def test_the_values_come_in_the_order_of_the_templates_references() -> None:
    run = Run(subject(config()), study(names=("nn_config", "architecture", "nn_config")))
    ((first, second, third),) = run.ask(1)
    assert first == third
    assert json.loads(second)[0][0] in range(4)
    assert json.loads(first.replace("'", '"'))["num_layers"] == 3


def test_a_minimised_objective_is_minimised() -> None:
    """The same run with negated values, maximised, gives the same points."""

    def by(sign: int) -> Callable[[int, PointTexts], tuple[TrialPhase, float | None]]:
        return lambda _, point: (TrialPhase.SUCCEEDED, sign * float(json.loads(point[0])[0][0]))

    runs = [
        Run(subject(config()), study(objective=objective), by(sign))
        for objective, sign in ((ObjectiveType.MINIMIZE, 1), (ObjectiveType.MAXIMIZE, -1))
    ]
    for run in runs:
        run.rounds(5, 2)
    assert runs[0].points == runs[1].points


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("controller_hidden_size", "0", "0 with int type must be in range [1, 256]"),
        ("controller_train_steps", "x", "failed to validate controller_train_steps(x)"),
        ("controller_temperature", "0", "0 with float type must be in range (0.0, inf]"),
        ("controller_tanh_const", "nan", "nan with float type must be in range (0.0, inf]"),
        ("controller_entropy_weight", "-1", "-1 with float type must be in range (0.0, inf]"),
        ("controller_learning_rate", "2", "2 with float type must be in range (0.0, 1.0]"),
        ("controller_baseline_decay", "None", "failed to validate controller_baseline_decay"),
        ("controller_skip_target", "1.5", "1.5 with float type must be in range (0.0, 1.0]"),
        ("controller_name", "x", "unknown setting controller_name for algorithm enas"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(name: str, text: str, message: str) -> None:
    [problem] = check_settings(ENAS, [(name, text)])
    assert message in problem.message


def test_katibs_defaults_and_none() -> None:
    """Of AlgorithmSettings.py; four settings can be turned off."""
    values = read_settings(ENAS, ())
    assert {
        name.removeprefix("controller_"): float(value)
        for name, value in values.items()
        if name.startswith("controller_")
    } == {
        "hidden_size": 64,
        "temperature": 5.0,
        "tanh_const": 2.25,
        "entropy_weight": 1e-5,
        "baseline_decay": 0.999,
        "learning_rate": 5e-5,
        "skip_target": 0.4,
        "skip_weight": 0.8,
        "train_steps": 50,
        "log_every_steps": 10,
    }
    off = ("temperature", "tanh_const", "entropy_weight", "skip_weight")
    given = tuple((f"controller_{name}", "None") for name in off)
    assert check_settings(ENAS, given) == []
    nas = config()
    spec = AlgorithmSpec(name="enas", settings=(*given, ("controller_train_steps", "2")))
    run = Run(subject(nas), study(nas, algorithm=spec))
    run.rounds(3, 2)
    assert len(run.points) == 6


def problems(nas: NasConfig, names: tuple[str, ...] = BOTH) -> dict[str, str]:
    submission = Submission(
        parameters=(),
        settings={},
        parallel_trial_count=2,
        max_trial_count=None,
        nas=nas,
        names=names,
    )
    return {it.field: it.message for it in ENAS.check(submission)}


def test_what_is_missing_or_too_much_is_said_at_submission() -> None:
    graph = "spec.nasConfig.graphConfig"
    template = "spec.trialTemplate.trialParameters"
    assert problems(config()) == {}
    assert problems(replace(config(), input_sizes=(), output_sizes=())) == {
        f"{graph}.inputSizes": "Missing InputSizes in GraphConfig",
        f"{graph}.outputSizes": "Missing OutputSizes in GraphConfig",
    }
    assert list(problems(config(33))) == [f"{graph}.numLayers"]
    many = NasOperation(
        type="a", parameters=(Parameter(name="p", type="int", min="1", max="5000"),)
    )
    assert (
        "at most 4096 operations, not 5000"
        in problems(config(3, many))["spec.nasConfig.operations"]
    )
    assert problems(config(), ("architecture", "lr"))[template] == (
        "the algorithm enas gives architecture and nn_config, not lr"
    )
    assert "must refer to architecture" in problems(config(), ("nn_config",))[template]
