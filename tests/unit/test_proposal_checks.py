"""What an algorithm may answer; everything else is refused, saying what."""

import sys
from random import Random
from typing import Any

import pytest

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus.kernel.errors import Refused
from trialbus.kernel.limits import MAX_ARGUMENT_BYTES
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import Proposal, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, NasConfig
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.memory import Memory
from trialbus_suggestion.core.proposal_checks import Nonsense, ProposalChecks
from trialbus_suggestion.core.registry import Registry

SPACE = (
    Parameter(name="rate", type="double", min="0", max="1"),
    Parameter(name="epochs", type="int", min="2", max="8", step="2"),
    Parameter(name="kind", type="categorical", list=("adam", "sgd")),
)
GOOD = ("0.5", "4", "sgd")
PLAIN = AlgorithmDescription(name="own")
RUNGS = AlgorithmDescription(
    name="own",
    resource_setting="resource_name",
    settings=(Setting(name="resource_name", kind="str"),),
)


class Text(str):
    """A text of an own kind, as numpy has one."""

    __slots__ = ()


def checks(description: AlgorithmDescription = PLAIN, **settings: str) -> ProposalChecks:
    algorithm = AlgorithmSpec(name="own", settings=tuple(settings.items()))
    study = Study(parameters=SPACE, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)
    return ProposalChecks(study, description)


def ask(first: int = 5, count: int = 2) -> ProposalRequest:
    return ProposalRequest(number=2, first=first, count=count, watermark=0, seed=1)


def of(*points: Any, **others: Any) -> Proposal:
    return Proposal(points=points, **others)


def mark(**fields: Any) -> Mark:
    return Mark(**fields)


@pytest.mark.parametrize(
    "proposal",
    [
        of(),
        of(exhausted=True),
        of(GOOD),
        of(GOOD, GOOD),
        of(GOOD, marks=(Mark(parent=4, labels=(("rung", "1"),)),)),
        # The second may go on from the first.
        of(GOOD, GOOD, marks=(Mark(), Mark(parent=5))),
    ],
)
def test_an_answer_is_passed_on(proposal: Proposal) -> None:
    assert checks().checked(proposal, ask()) == proposal


@pytest.mark.parametrize(
    ("proposal", "message"),
    [
        (None, "gave NoneType, not a Proposal"),
        ([GOOD], "gave list, not a Proposal"),
        (of(GOOD, GOOD, GOOD), "gave 3 points, not 2"),
        (of(GOOD, GOOD, GOOD, exhausted=True), "gave 3 points, not 2"),
        (Proposal(points=None), "gave points as NoneType"),  # type: ignore[arg-type]
        (of("abc"), "gave point 1 as str"),
        (of(GOOD, GOOD[:2]), "gave 2 values for 3 (rate, epochs, kind)"),
        (of((*GOOD, "1")), "gave 4 values for 3"),
        (of((0.5, "4", "sgd")), "gave rate no text, but float: 0.5"),
        (of(("1.5", "4", "sgd")), "gave rate the value '1.5': outside its space"),
        (of(("nan", "4", "sgd")), "gave rate the value 'nan'"),
        (of(("", "4", "sgd")), "gave rate the value ''"),
        (of(("0.5", "5", "sgd")), "gave epochs the value '5': outside its space"),
        (of(("0.5", "4.0", "sgd")), "gave epochs the value '4.0'"),
        (of(("0.5", "4" * 5000, "sgd")), "gave epochs the value '444"),
        (of(("0.5", "10", "sgd")), "gave epochs the value '10'"),
        (of(("0.5", "4", "rmsprop")), "gave kind the value 'rmsprop'"),
        (of(GOOD, GOOD, marks=(Mark(),)), "gave 1 marks for 2 points"),
        (of(GOOD, marks=(("rung", "1"),)), "gave tuple, not a Mark"),
        (of(GOOD, marks=(Mark(parent=5),)), "gave trial 5 the parent 5"),
        (of(GOOD, marks=(Mark(parent=-1),)), "gave trial 5 the parent -1"),
        (of(GOOD, marks=(mark(parent="3"),)), "a parent that is no index: '3'"),
        (of(GOOD, marks=(mark(labels=(("rung", 1),)),)), "no pair of texts: ('rung', 1)"),
        (of(GOOD, marks=(Mark(labels=(("a", "b"),) * 65),)), "gave 65 labels"),
        (of(GOOD, marks=(Mark(labels=(("a", "b" * 1025),)),)), "a label of more than 1024"),
        (of(GOOD, marks=(Mark(labels=(("a", "\ud800"),)),)), r"no Unicode: 'a\ud800'"),
    ],
)
def test_nonsense_is_named(proposal: Any, message: str) -> None:
    with pytest.raises(Nonsense) as caught:
        checks().checked(proposal, ask())
    assert message in str(caught.value)


def test_values_are_written_as_trials_get_them() -> None:
    [point] = checks().checked(of((Text("0.50"), " 4", Text("sgd"))), ask()).points
    assert point == GOOD
    assert {type(text) for text in point} == {str}


def test_what_is_changed_later_changes_nothing() -> None:
    points, labels = [list(GOOD)], [["rung", "1"]]
    given = Proposal(points=points, marks=[Mark(labels=labels)])  # type: ignore[arg-type]
    checked = checks().checked(given, ask())
    points[0][0], labels[0][1] = "0.75", "2"
    points.append(list(GOOD))
    assert checked == of(GOOD, marks=(Mark(labels=(("rung", "1"),)),))


def test_the_resource_may_leave_its_space_but_must_be_a_number() -> None:
    rungs = checks(RUNGS, resource_name="epochs")
    point = ("0.5", "81", "sgd")
    assert rungs.checked(of(point), ask()).points == (point,)
    for text in ("many", "inf", "nan", ""):
        with pytest.raises(Nonsense, match="no finite number"):
            rungs.checked(of(("0.5", text, "sgd")), ask())
    with pytest.raises(Nonsense, match="outside its space"):
        rungs.checked(of(("2", "81", "sgd")), ask())
    # Named by nobody, it is a parameter as others are.
    with pytest.raises(Nonsense, match="outside its space"):
        checks(RUNGS).checked(of(point), ask())


def test_an_architecture_is_any_text_of_some_length() -> None:
    nas = NasConfig(num_layers=1, input_sizes=(4,), output_sizes=(2,), operations=())
    study = Study(
        parameters=(),
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name="own"),
        nas=nas,
        names=("architecture", "nn_config"),
    )
    searched = ProposalChecks(study, PLAIN)
    point = ("[[0], [1, 1]]", '{"layers": []}')
    assert searched.checked(of(point), ask()).points == (point,)
    with pytest.raises(Nonsense, match=r"gave 1 values for 2 \(architecture, nn_config\)"):
        searched.checked(of(point[:1]), ask())
    with pytest.raises(Nonsense, match="gave nn_config a text of 131072 bytes"):
        searched.checked(of((point[0], "x" * (MAX_ARGUMENT_BYTES + 1))), ask())
    with pytest.raises(Nonsense, match="gave nn_config a text of 131072 bytes"):
        searched.checked(of((point[0], "é" * (MAX_ARGUMENT_BYTES // 2 + 1))), ask())
    with pytest.raises(Nonsense, match=r"gave nn_config a text that is no Unicode: '\\ud800'"):
        searched.checked(of((point[0], "\ud800")), ask())
    long = "x" * MAX_ARGUMENT_BYTES
    with pytest.raises(Nonsense, match="more than 4194304"):
        searched.checked(of(*[(long, long)] * 17), ask(count=17))


class Wild:
    """Proposes what its one setting says, in Python."""

    def __init__(self, study: Study) -> None:
        self._code = study.algorithm.settings[0][1]

    def restore(self, points: Any, marks: Any = ()) -> None: ...

    def tell(self, finished: Any) -> None: ...

    def propose(self, request: ProposalRequest, rng: Random) -> Any:
        known = {"sys": sys, "raising": raising, "Unspeakable": Unspeakable}
        return eval(self._code, known)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("7", "the algorithm gave int, not a Proposal"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raising(MemoryError())", "MemoryError"),
        ("raising(Unspeakable())", "Unspeakable: (no message)"),
        # What cannot be stored.
        ("raising(ValueError('a' + chr(0xD800)))", "ValueError: a?"),
        ("raising(ValueError('x' * 5000))", "ValueError: " + "x" * 1000),
    ],
)
def test_no_way_leads_around_the_checks(code: str, message: str) -> None:
    wild = AlgorithmDescription(name="wild", implementation=f"{__name__}:Wild")
    algorithm = AlgorithmSpec(name="wild", settings=(("code", code),))
    study = Study(parameters=SPACE, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)
    memory = Memory(Registry([wild]), Random)
    with pytest.raises(Refused) as caught:
        memory.answer("uid", study, ask(first=0), None)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1100
    assert memory.experiments == ()
