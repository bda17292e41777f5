"""What a DARTS trial is given, and what is refused before one runs."""

import json
from pathlib import Path
from random import Random

import pytest

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import Catalogue, Submission, check_settings, read_settings
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, NasConfig, NasOperation, Place
from trialbus.runtime.catalogue import load_catalogue
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.darts import Darts
from trialbus_suggestion.core.descriptions.darts import ASSIGNMENTS, DARTS, check_darts
from trialbus_suggestion.core.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "examples"


def sized(type_: str, *sizes: str, kind: str = "categorical") -> NasOperation:
    return NasOperation(
        type=type_, parameters=(Parameter(name="filter_size", type=kind, list=sizes),)
    )


SKIP = NasOperation(type="skip_connection", parameters=())
OPERATIONS = (
    sized("separable_convolution", "3"),
    sized("dilated_convolution", "3", "5"),
    sized("max_pooling", "3"),
    SKIP,
)


def nas(*operations: NasOperation, layers: int = 3) -> NasConfig:
    return NasConfig(num_layers=layers, input_sizes=(), output_sizes=(), operations=operations)


def study(names: tuple[str, ...] = ASSIGNMENTS, **settings: str) -> Study:
    return Study(
        parameters=(),
        objective=ObjectiveType.MAXIMIZE,
        algorithm=AlgorithmSpec(name="darts", settings=tuple(settings.items())),
        nas=nas(*OPERATIONS),
        names=names,
    )


def points(study_: Study, first: int, count: int) -> tuple[tuple[str, ...], ...]:
    request = ProposalRequest(number=1, first=first, count=count, watermark=0, seed=1)
    return Registry(BUILT_IN).create(study_).propose(request, Random(1)).points


# What Katib's service (service.py of pkg/suggestion/v1beta1/nas/darts) gives for the same space.
SETTINGS = (
    "{'num_epochs': '1', 'w_lr': 0.025, 'w_lr_min': 0.001, 'w_momentum': 0.9, "
    "'w_weight_decay': 0.0003, 'w_grad_clip': 5.0, 'alpha_lr': 0.0003, "
    "'alpha_weight_decay': 0.001, 'batch_size': null, 'num_workers': 4, 'init_channels': 16, "
    "'print_step': 50, 'num_nodes': 4, 'stem_multiplier': 3}"
)
SPACE = (
    "['separable_convolution_3x3', 'dilated_convolution_3x3', 'dilated_convolution_5x5', "
    "'max_pooling_3x3', 'skip_connection']"
)


def test_a_trial_is_given_the_texts_that_katib_gives() -> None:
    [point] = points(study(num_epochs="1", batch_size="None"), 0, 1)
    assert point == (SETTINGS, SPACE, "3")
    assert json.loads(point[0].replace("'", '"'))["w_grad_clip"] == 5.0


def test_values_come_in_the_order_of_the_template_and_only_those_it_asks_for() -> None:
    [point] = points(study(names=("num-layers", "search-space")), 0, 1)
    assert point == ("3", SPACE)


def test_any_number_of_requests_gives_the_same_search_to_every_trial() -> None:
    first, later = points(study(), 0, 3), points(study(), 3, 2)
    assert len(first) == 3
    assert set(first) == set(later)
    assert len(set(first)) == 1


def test_a_parameter_search_is_refused() -> None:
    with pytest.raises(Refused, match=r"spec\.nasConfig"):
        Darts(
            Study(
                parameters=(),
                objective=ObjectiveType.MAXIMIZE,
                algorithm=AlgorithmSpec(name="darts"),
            )
        )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("num_epochs", "0", "num_epochs should be greater than zero"),
        ("w_lr", "-0.1", "w_lr should be greater than or equal to zero"),
        ("w_lr_min", "nan", "w_lr_min should be greater than or equal to zero"),
        ("w_momentum", "-1", "w_momentum should be greater than or equal to zero"),
        ("w_weight_decay", "-1", "w_weight_decay should be greater than or equal to zero"),
        ("w_grad_clip", "inf", "w_grad_clip should be greater than or equal to zero"),
        ("alpha_lr", "-1", "alpha_lr should be greater than or equal to zero"),
        ("alpha_weight_decay", "-1", "alpha_weight_decay should be greater than or equal to zero"),
        ("batch_size", "0", "batch_size should be greater than or equal to one"),
        ("batch_size", "many", "batch_size should be greater than or equal to one"),
        ("num_workers", "-1", "num_workers should be greater than or equal to zero"),
        ("init_channels", "0", "init_channels should be greater than or equal to one"),
        ("print_step", "0", "print_step should be greater than or equal to one"),
        ("num_nodes", "0", "num_nodes should be greater than or equal to one"),
        ("stem_multiplier", "0", "stem_multiplier should be greater than or equal to one"),
        ("epochs", "1", "unknown setting epochs for algorithm darts"),
    ],
)
def test_settings_out_of_range_and_unknown_ones_are_refused(
    name: str, text: str, words: str
) -> None:
    assert [str(problem) for problem in check_settings(DARTS, [(name, text)])] == [words]


def test_the_least_values_are_taken() -> None:
    least = {"num_epochs": "1", "w_lr": "0", "batch_size": "1", "num_workers": "0"}
    assert check_settings(DARTS, list(least.items())) == []
    assert check_settings(DARTS, [("batch_size", "None")]) == []


def problems(*operations: NasOperation, names: tuple[str, ...] = ASSIGNMENTS) -> list[Problem]:
    submission = Submission(
        parameters=(),
        settings=read_settings(DARTS, ()),
        parallel_trial_count=1,
        max_trial_count=1,
        nas=nas(*operations),
        names=names,
    )
    return list(check_darts(submission))


@pytest.mark.parametrize(
    ("operation", "field", "words"),
    [
        (sized("reduction", "3"), ".operationType", "darts knows no operation reduction; it knows"),
        (
            NasOperation(type="max_pooling", parameters=()),
            ".parameters",
            "must hold one parameter: the sizes of the operation's window",
        ),
        (
            NasOperation(
                type="max_pooling",
                parameters=(Parameter(name="filter_size", type="int", min="3", max="5"),),
            ),
            ".parameters[0].parameterType",
            "int is not supported: list the sizes, as categorical or discrete",
        ),
        (
            sized("max_pooling", "3", "4"),
            ".parameters[0].feasibleSpace.list",
            "4: a window has an odd whole number of pixels on each side",
        ),
        (
            sized("max_pooling", "three"),
            ".parameters[0].feasibleSpace.list",
            "three: a window has an odd whole number of pixels on each side",
        ),
        (sized("separable_convolution", "5", "3"), "", "separable_convolution_3x3 is there twice"),
    ],
)
def test_operations_that_darts_does_not_know_are_refused(
    operation: NasOperation, field: str, words: str
) -> None:
    [problem] = problems(*OPERATIONS, operation)
    assert problem.field == f"spec.nasConfig.operations[4]{field}"
    assert problem.message.startswith(words)


def test_a_template_that_asks_for_other_values_is_refused() -> None:
    assert problems(*OPERATIONS) == []
    messages = [problem.message for problem in problems(SKIP, names=("architecture",))]
    assert messages == [
        "darts gives no architecture, only algorithm-settings, search-space, num-layers",
        "no parameter refers to search-space: trials would not know what to search",
    ]


def test_a_skip_connection_needs_no_parameters() -> None:
    """As in Katib's darts-gpu.yaml."""
    document = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "search"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "Best-Genotype"},
            "algorithm": {"algorithmName": "darts"},
            "nasConfig": {
                "graphConfig": {"numLayers": 2},
                "operations": [{"operationType": "skip_connection"}],
            },
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "space", "reference": "search-space"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [
                                    {
                                        "name": "main",
                                        "image": "a",
                                        "command": ["run", "${trialParameters.space}"],
                                    }
                                ],
                            }
                        }
                    },
                },
            },
        },
    }
    installed = load_catalogue()
    known = Catalogue(
        algorithms={**installed.algorithms, "darts": DARTS},
        stopping_rules=installed.stopping_rules,
    )
    parsed = parse_experiment(document, catalogue=known, place=Place.CLUSTER)
    assert parsed.spec.nas is not None
    assert parsed.spec.assignment_names == ("search-space",)


@pytest.mark.parametrize("file", ["nas/darts.yaml", "katib/darts-cpu.yaml"])
def test_the_examples_are_taken_on_one_machine(file: str) -> None:
    document = load_document((EXAMPLES / file).read_bytes())
    parsed = parse_experiment(document, catalogue=load_catalogue(), place=Place.ONE_MACHINE)
    assert parsed.spec.assignment_names == ASSIGNMENTS


def test_parameters_are_refused_without_a_word_on_their_types() -> None:
    document = load_document((EXAMPLES / "quick-start.yaml").read_bytes())
    document["spec"]["algorithm"]["algorithmName"] = "darts"
    with pytest.raises(Refused) as refused:
        parse_experiment(document, catalogue=load_catalogue(), place=Place.ONE_MACHINE)
    texts = [str(it) for it in refused.value.problems if it.field.startswith("spec.parameters")]
    assert texts == ["spec.parameters: the algorithm darts searches spec.nasConfig, not parameters"]


def test_who_cannot_search_architectures_says_who_can() -> None:
    document = load_document((EXAMPLES / "nas" / "darts.yaml").read_bytes())
    document["spec"]["algorithm"] = {"algorithmName": "tpe"}
    with pytest.raises(Refused, match="not architectures; enas and darts search those"):
        parse_experiment(document, catalogue=load_catalogue(), place=Place.ONE_MACHINE)
