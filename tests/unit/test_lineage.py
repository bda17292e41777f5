"""Who goes on from whom, as labels, explanations and tables show it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from trialbus.cli.lineages import lineage_of, lines_of, tree
from trialbus.contracts.katib.suggestion_views import suggested
from trialbus.contracts.katib.view_parts import algorithms_labels
from trialbus.kernel.ids import trial_name
from trialbus.testkit.fake_gateway import FakeGateway, command_code, serving_fake_gateway
from trialbus.testkit.gateway_documents import UID, experiment, trial
from trialbus_gateway.core.trial_story import TrialFacts, tell_trial

KATIB = "pbt.suggestion.katib.kubeflow.org"
PARENT = trial_name("tune", UID, 3)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        yield fake


# Labels -------------------------------------------------------------------------------------------


def test_katibs_label_names_the_parent_of_a_generation() -> None:
    marked = replace(trial(), labels=((f"{KATIB}/generation", "4"),), parent=3)
    labels = {f"{KATIB}/generation": "4", f"{KATIB}/parent": PARENT}
    assert algorithms_labels(marked) == labels
    assert suggested([marked])["suggestions"][0]["labels"] == labels


def test_other_algorithms_have_a_label_of_ours() -> None:
    marked = replace(trial(), labels=(("trialbus.io/rung", "1"),), parent=3)
    assert algorithms_labels(marked) == {
        "trialbus.io/rung": "1",
        "trialbus.io/parent": PARENT,
    }


def test_who_begins_anew_has_no_parent() -> None:
    assert algorithms_labels(trial()) == {}
    assert "labels" not in suggested([trial()])["suggestions"][0]


# Explanations -------------------------------------------------------------------------------------


def told(**labels: str) -> list[tuple[str, str]]:
    marked = replace(
        trial(), labels=tuple((f"trialbus.io/{k}", v) for k, v in labels.items()), parent=3
    )
    story = tell_trial(TrialFacts(trial=marked, experiment=experiment()), 1_000.0).story
    return [(step.reason, step.message) for step in story.chain if step.event == "continues"]


def test_a_copy_tells_whom_and_why() -> None:
    given = {"parent-member": "1", "parent-rank": "1-of-5"}
    assert told(move="exploit", member="4", rank="5-of-5", **given) == [
        (
            "Exploit",
            f"goes on from the checkpoint of {PARENT}: member 4 was 5 of 5, so it copies member 1, "
            "which was 1 of 5, and changes the parameters",
        )
    ]
    [(_, message)] = told(move="exploit", member="4", rank="failed", **given)
    assert "member 4 had failed, so it copies member 1" in message


def test_who_goes_on_tells_so() -> None:
    assert told(move="continue", member="2", rank="3-of-5") == [
        (
            "Continue",
            f"goes on from the checkpoint of {PARENT}: member 2 was 3 of 5 and keeps its own",
        )
    ]
    assert told(rung="1") == [("", f"goes on from the checkpoint of {PARENT}")]


# The command --------------------------------------------------------------------------------------


def shown(
    name: str, parent: str | None = None, *, member: int = 0, generation: int = 0, lr: float = 0.1
) -> dict[str, Any]:
    labels = {"trialbus.io/member": str(member), f"{KATIB}/generation": str(generation)}
    if parent is not None:
        labels[f"{KATIB}/parent"] = parent
        labels["trialbus.io/move"] = "continue"
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "parameterAssignments": [{"name": "lr", "value": str(lr)}],
            "objective": {"metricStrategies": [{"name": "q", "value": "max"}]},
        },
        "status": {
            "conditions": [{"type": "Succeeded", "status": "True"}],
            "observation": {"metrics": [{"name": "q", "max": str(lr * 2), "latest": "0"}]},
        },
    }


def tuned(best: str | None) -> dict[str, Any]:
    return {
        "metadata": {"name": "tune"},
        "status": {"currentOptimalTrial": {"bestTrialName": best} if best else {}},
    }


POPULATION = [
    shown("a"),
    shown("b", member=1, lr=0.2),
    shown("a1", "a", generation=1),
    shown("b1", "a", member=1, generation=1, lr=0.4),
    shown("a2", "a1", generation=2),
    shown("b2", "b1", member=1, generation=2, lr=0.4),
    shown("a3", "b2", generation=3, lr=0.8),
]


def test_who_copies_stands_further_right_and_who_goes_on_below() -> None:
    found = lineage_of(tuned("a3"), POPULATION)
    assert [(depth, line.name) for depth, line in tree(found)] == [
        (0, "a"),
        (1, "b1"),
        (1, "b2"),
        (2, "a3"),
        (0, "a1"),
        (0, "a2"),
        (0, "b"),
    ]


def test_the_schedule_of_the_best_goes_back_to_its_beginning() -> None:
    found = lineage_of(tuned("a3"), POPULATION)
    steps = [(line.name, line.step, line.parameters["lr"]) for line in found.schedule()]
    assert steps == [("a", "0", "0.1"), ("b1", "1", "0.4"), ("b2", "2", "0.4"), ("a3", "3", "0.8")]
    assert lineage_of(tuned(None), POPULATION).schedule() == []


def test_a_long_line_is_no_matter_of_recursion() -> None:
    line = [shown("t0"), *(shown(f"t{i}", f"t{i - 1}") for i in range(1, 3000))]
    found = lineage_of(tuned("t2999"), line)
    assert len(found.schedule()) == 3000
    assert [depth for depth, _ in tree(found)] == [0] * 3000


def test_a_parent_that_is_gone_leaves_a_beginning() -> None:
    found = lineage_of(tuned("a1"), [shown("a1", "gone")])
    assert [line.name for line in found.schedule()] == ["a1"]
    assert [(depth, line.name) for depth, line in tree(found)] == [(0, "a1")]


def test_an_experiment_without_lineage_says_so() -> None:
    lines = list(lines_of(lineage_of(tuned("a"), [shown("a"), shown("b")])))
    assert lines == ["No trial of tune goes on from another one."]


def serve(gateway: FakeGateway) -> None:
    gateway.says("GET /v1/namespaces/default/experiments/tune", (200, tuned("a3")))
    gateway.says("GET /v1/trials", (200, {"items": POPULATION, "next": None}))


def test_the_command_shows_schedule_and_tree(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(gateway)
    assert command_code(gateway, "lineage", "tune") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The schedule of the best trial, a3:"
    assert lines[3].split() == ["a", "0", "0", "Succeeded", "lr=0.1", "q=0.2"]
    assert lines[6].split() == ["a3", "3", "0", "continue", "Succeeded", "lr=0.8", "q=1.6"]
    assert "    a3" in [line[:6] for line in lines]


def test_the_schedule_is_there_for_machines(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(gateway)
    assert command_code(gateway, "lineage", "tune", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"] == "a3"
    assert [step["parameters"] for step in found["schedule"]] == [
        {"lr": "0.1"},
        {"lr": "0.4"},
        {"lr": "0.4"},
        {"lr": "0.8"},
    ]
    assert found["schedule"][-1] == {
        "trial": "a3",
        "parent": "b2",
        "step": 3,
        "member": 0,
        "move": "continue",
        "state": "Succeeded",
        "parameters": {"lr": "0.8"},
        "metrics": {"q": "1.6"},
    }
    assert len(found["trials"]) == 7


def test_wide_tables_have_parents_only_where_there_are_any(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says("GET /v1/trials", (200, {"items": POPULATION, "next": None}))
    assert command_code(gateway, "get", "trials", "-o", "wide") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[-3:] == ["PARENT", "GENERATION", "AGE"]
    assert rows[-1].split()[-2:] == ["b2", "3"]
    plain = {**shown("a"), "metadata": {"name": "a"}}
    gateway.says("GET /v1/trials", (200, {"items": [plain], "next": None}))
    assert command_code(gateway, "get", "trials", "-o", "wide") == 0
    assert "PARENT" not in capsys.readouterr().out
