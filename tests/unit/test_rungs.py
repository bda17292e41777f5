"""The rung algorithms: settings, resources, lineage, waiting, the end of a space, speed."""

import time
from random import Random

import pytest

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.kernel.errors import Refused
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, Proposal, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase
from trialbus.runtime.catalogue import load_catalogue
from trialbus.testkit.processor_time import ROUNDS, cpu_s
from trialbus_suggestion.core.registry import Registry

NAMES = ("hyperband", "asha", "async-hyperband")
X = Parameter(name="x", type="double", min="0", max="1")
EPOCHS = Parameter(name="epochs", type="int", min="1", max="1")
RIGHT = {"r_l": "9", "resource_name": "epochs"}


def refused(name: str, settings: dict[str, str], resource: Parameter = EPOCHS) -> list[str]:
    """What is said to an experiment with 3 parallel trials; empty: it is taken."""
    space = {"min": resource.min, "max": resource.max, "list": list(resource.list) or None}
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "rungs"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {
                "algorithmName": name,
                "algorithmSettings": [{"name": k, "value": v} for k, v in settings.items()],
            },
            "parallelTrialCount": 3,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1"},
                },
                {
                    "name": resource.name,
                    "parameterType": resource.type,
                    "feasibleSpace": {k: v for k, v in space.items() if v},
                },
            ],
        },
    }
    try:
        parse_experiment(experiment, catalogue=load_catalogue())
    except Refused as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r_l": "-1"}, "r_l must be a positive float number."),
        ({"r_l": "0"}, "r_l must be a positive float number."),
        ({"r_l": "inf"}, "r_l must be a positive float number."),
        ({"r_l": "nan"}, "r_l must be a positive float number."),
        ({"resource_name": "layers"}, "value of resource_name setting must be in parameters."),
        ({"r_l": None}, "r_l and resource_name must be set."),
        ({"r_l": None, "resource_name": None}, "r_l and resource_name must be set."),
        ({"eta": "1"}, "eta must be greater or equal than two (>=2)"),
        ({"eta": "-inf"}, "eta must be greater or equal than two (>=2)"),
        ({"r_min": "0"}, "r_min must be a positive float number."),
        ({"r_min": "0.5"}, "r_min must be at least one (>=1), for the resource parameter epochs"),
        ({"r_min": "10"}, "r_l must not be less than r_min, the resource of the first rung"),
        ({"epochs": "3"}, "unknown setting epochs for algorithm"),
    ],
)
def test_wrong_settings_are_refused_in_katibs_words_where_it_has_some(
    name: str, changes: dict[str, str | None], message: str
) -> None:
    said = {k: v for k, v in (RIGHT | changes).items() if v is not None}
    [problem] = refused(name, said)
    assert problem.startswith(message)


def test_settings_of_one_algorithm_only() -> None:
    assert refused("asha", {**RIGHT, "s": "3"}) == [
        "s must be less or equal than 2: r_min * eta^s must not be above r_l"
    ]
    assert refused("asha", {**RIGHT, "s": "-1"}) == ["s should be great or equal than zero"]
    assert refused("async-hyperband", {**RIGHT, "brackets": "0"}) == [
        "brackets must be greater than zero (>0)"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_parallel_trials_and_any_range_of_the_resource_will_do(name: str) -> None:
    """Katib wants 9 parallel trials here, as many as its first rung has."""
    assert refused(name, RIGHT) == []
    assert refused(name, {**RIGHT, "eta": "0"}) == []
    double = Parameter(name="epochs", type="double", min="0.5", max="0.5")
    assert refused(name, {**RIGHT, "r_l": "1", "r_min": "0.01"}, double) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_resource_must_be_a_number(name: str) -> None:
    listed = Parameter(name="epochs", type="discrete", list=("1", "3"))
    assert refused(name, RIGHT, listed) == [
        "the resource parameter epochs must be an int or a double, not discrete"
    ]


class Search:
    """A search whose trials end when they are told to, with a loss of their own."""

    def __init__(self, name: str, *parameters: Parameter, **settings: str) -> None:
        given = tuple(({"resource_name": "epochs"} | settings).items())
        self.study = Study(
            parameters=parameters,
            objective=ObjectiveType.MINIMIZE,
            algorithm=AlgorithmSpec(name=name, settings=given),
        )
        self.algorithm = Registry().create(self.study)
        self.points: list[tuple[str, ...]] = []
        self.marks: list[Mark] = []
        self.ended = 0

    def ask(self, count: int) -> Proposal:
        request = ProposalRequest(
            number=1, first=len(self.points), count=count, watermark=self.ended, seed=1
        )
        proposal = self.algorithm.propose(request, Random(1))
        self.points += proposal.points
        self.marks += proposal.marks
        return proposal

    def end(self, index: int, loss: float | None, phase: TrialPhase = TrialPhase.SUCCEEDED) -> None:
        self.ended += 1
        point = self.points[index]
        self.algorithm.tell(
            [FinishedTrial(number=self.ended, index=index, point=point, phase=phase, value=loss)]
        )

    def run(self, limit: int) -> bool:
        """One trial at a time, each as good as its index is high; whether it has come to an end."""
        while len(self.points) < limit:
            proposal = self.ask(1)
            if not proposal.points:
                return proposal.exhausted
            self.end(len(self.points) - 1, float(-len(self.points)))
        return False


def resources(search: Search) -> list[str]:
    return sorted({point[-1] for point in search.points}, key=float)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "settings", "wanted"),
    [
        ("int", {"r_l": "243"}, ["1", "3", "9", "27", "81", "243"]),
        ("double", {"r_l": "1", "r_min": "0.001", "eta": "10"}, ["0.001", "0.01", "0.1", "1.0"]),
        ("int", {"r_l": "1000", "eta": "10"}, ["1", "10", "100", "1000"]),
        ("double", {"r_l": "0.3", "r_min": "0.1"}, ["0.1", "0.3"]),
        ("int", {"r_l": "1"}, ["1"]),
    ],
)
def test_resources_are_exact_and_go_up_to_r_l(
    name: str, kind: str, settings: dict[str, str], wanted: list[str]
) -> None:
    """floor(log(243) / log(3)) and log10(1000) are one too few in floating point."""
    resource = Parameter(name="epochs", type=kind, min="1", max="1")
    search = Search(name, X, resource, **settings)
    search.run(4000)
    assert resources(search) == wanted


def test_what_is_no_power_of_eta_is_cut_down_for_an_int() -> None:
    """hyperband comes down from r_l, asha up from r_min."""
    down = Search("hyperband", X, EPOCHS, r_l="100")
    assert down.run(10_000)
    assert resources(down) == ["1", "3", "11", "33", "100"]
    up = Search("asha", X, EPOCHS, r_l="100")
    up.run(1000)
    assert resources(up) == ["1", "3", "9", "27", "81"]


def test_a_promoted_trial_knows_its_parent_bracket_and_rung() -> None:
    search = Search("asha", X, EPOCHS, r_l="9")
    search.ask(3)
    for index, loss in enumerate((0.3, 0.1, 0.2)):
        search.end(index, loss)
    [(x, epochs)] = search.ask(1).points
    assert (x, epochs) == (search.points[1][0], "3")
    labels = (("trialbus.io/bracket", "0"), ("trialbus.io/rung", "1"))
    assert search.marks[-1] == Mark(parent=1, labels=labels)
    assert search.marks[0].label("trialbus.io/rung") == "0"


def test_hyperband_gives_free_places_to_the_next_bracket_and_then_waits() -> None:
    """r_l 4, eta 2: brackets begin 4, 3 and 3 trials."""
    search = Search("hyperband", X, EPOCHS, r_l="4", eta="2")
    first = search.ask(20)
    assert [mark.label("trialbus.io/bracket") for mark in first.marks] == (
        ["2"] * 4 + ["1"] * 3 + ["0"] * 3
    )
    assert not first.exhausted
    for index in (0, 1, 2, 7, 8, 9):
        search.end(index, float(index))
        assert search.ask(20).points == ()
    search.end(3, -1.0)
    promoted = search.ask(20)
    # The best half of the first bracket; the second one still runs.
    assert [mark.parent for mark in promoted.marks] == [3, 0]
    assert not promoted.exhausted


@pytest.mark.parametrize("name", NAMES)
def test_a_spent_space_is_waited_for_while_somebody_may_be_promoted(name: str) -> None:
    few = Parameter(name="x", type="int", min="1", max="4")
    search = Search(name, few, EPOCHS, r_l="2", eta="2", **brackets(name))
    first = search.ask(9)
    assert sorted(point[0] for point in first.points) == ["1", "2", "3", "4"]
    assert not first.exhausted
    lowest = [i for i, point in enumerate(first.points) if point[1] == "1"]
    for index in lowest:
        search.end(index, float(index))
    promoted = search.ask(9)
    assert [mark.parent for mark in promoted.marks] == lowest[: len(lowest) // 2]
    # Only the top rung runs: nothing can come any more.
    assert promoted.exhausted


def brackets(name: str) -> dict[str, str]:
    return {"brackets": "1"} if name == "async-hyperband" else {}


@pytest.mark.parametrize("name", NAMES)
def test_who_was_stopped_early_counts_with_what_it_showed_and_who_failed_does_not(
    name: str,
) -> None:
    search = Search(name, X, EPOCHS, r_l="2", eta="2", **brackets(name))
    search.ask(2)
    search.end(0, 0.1, TrialPhase.FAILED)
    search.end(1, 0.9, TrialPhase.EARLY_STOPPED)
    [mark] = search.ask(1).marks
    assert mark.parent == 1


@pytest.mark.parametrize("name", ["asha", "async-hyperband"])
def test_ten_thousand_trials_are_no_burden(name: str) -> None:
    search = Search(name, X, EPOCHS, r_l="81")
    rng, done = Random(1), 0
    started = time.process_time()
    while done < 10_000:
        search.ask(16)
        for _ in range(16):
            search.end(done, rng.random())
            done += 1
    each_s = (time.process_time() - started) / done
    assert each_s < 0.001
    # What a round finds is not what the one before it has learned.
    restored = [Registry().create(search.study) for _ in range(ROUNDS)]
    for fresh in restored:
        fresh.restore(search.points, search.marks)
    request = ProposalRequest(number=1, first=done, count=1, watermark=0, seed=1)
    assert cpu_s(lambda: restored.pop().propose(request, Random(1))) < 0.005
