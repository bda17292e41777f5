"""Objects of a cluster beside the store's: what was edited, what is written."""

from typing import Any

import pytest

from trialbus.kernel.errors import Problem
from trialbus_gateway.core.custom_resources import (
    edits,
    is_over,
    merge_diff,
    without_katibs_finalizer,
    without_null,
    written,
    written_digest,
)
from trialbus_gateway.core.resource_objects import (
    MAX_STATUS_BYTES,
    child_object,
    experiment_object,
    refusal_event,
    refused_status,
    status_of,
    with_refused_edit,
)

Object = dict[str, Any]
PROBLEMS = (Problem(field="spec.a", message="is wrong"), Problem(field="spec.b", message="too"))


def resource(spec: Object | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "tune", "namespace": "lab", "uid": "u", **metadata},
        "spec": spec or {"objective": {"goal": 1.0}, "maxTrialCount": 5},
    }


def test_what_kubectl_and_we_keep_in_annotations_is_nobodys_writing() -> None:
    kept = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "trialbus.io/uid": "x"}
    plain = written_digest(resource())
    assert written_digest(resource(annotations=kept, resourceVersion="7", generation=3)) == plain
    assert "annotations" not in written(resource(annotations=kept))["metadata"]
    assert written_digest(resource(annotations={"a": "b"})) != plain
    assert written_digest(resource({"maxTrialCount": 6})) != plain


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": []}}, {"a": {"b": []}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}, {"a": {"c": None, "d": 3}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_a_merge_patch_leads_from_one_to_the_other(
    before: Object, after: Object, patch: Object
) -> None:
    assert merge_diff(before, after) == patch


def test_only_what_was_edited_is_given_to_the_object() -> None:
    source: Object = {
        "metadata": {"name": "tune", "namespace": "lab"},
        # With its defaults, as the store has it.
        "spec": {
            "objective": {"goal": 1.0, "metricStrategies": []},
            "maxTrialCount": 5,
            "parallelTrialCount": 3,
            "resumePolicy": "Never",
            "suspend": False,
        },
    }
    assert edits(resource(), source) == {}
    source["spec"] |= {"parallelTrialCount": 4, "suspend": True}
    source["spec"]["objective"]["goal"] = None
    del source["spec"]["maxTrialCount"]
    assert edits(resource(), source) == {
        "spec": {
            "parallelTrialCount": 4,
            "maxTrialCount": None,
            "suspend": True,
            "objective": {"goal": None},
        }
    }


def test_edited_annotations_are_given_to_the_object_and_ours_stay() -> None:
    mine = resource(annotations={"trialbus.io/uid": "x", "trialbus.io/at-goal": "stop"})
    annotations = {"trialbus.io/max-duration": "1h"}
    source = {"metadata": {"annotations": annotations}, "spec": mine["spec"]}
    assert edits(mine, source) == {
        "metadata": {"annotations": {"trialbus.io/at-goal": None, "trialbus.io/max-duration": "1h"}}
    }


def test_an_object_is_over_when_a_condition_says_so() -> None:
    ended = [{"type": "Running", "status": "False"}, {"type": "Failed", "status": "True"}]
    assert is_over({**resource(), "status": {"conditions": ended}})
    assert not is_over({**resource(), "status": {"conditions": ended[:1]}})
    assert not is_over(resource())


def test_only_katibs_own_finalizer_is_taken_away() -> None:
    assert without_katibs_finalizer(resource()) is None
    assert without_katibs_finalizer(resource(finalizers=["a/b"])) is None
    both = resource(finalizers=["a/b", "update-prometheus-metrics"])
    assert without_katibs_finalizer(both) == ["a/b"]


def test_null_is_nothing() -> None:
    assert without_null({"a": None, "b": [{"c": None}], "d": 0}) == {"b": [{}], "d": 0}


def test_children_belong_to_the_object_and_hold_nobody_up() -> None:
    view = {**resource(labels={"a": "b"}, resourceVersion="3"), "kind": "Trial", "status": {}}
    made = child_object(view, resource())
    assert made["metadata"] == {
        "name": "tune",
        "namespace": "lab",
        "labels": {"a": "b"},
        "ownerReferences": [
            {
                "apiVersion": "kubeflow.org/v1beta1",
                "kind": "Experiment",
                "name": "tune",
                "uid": "u",
                "controller": True,
            }
        ],
    }
    assert experiment_object(view)["metadata"]["annotations"] == {"trialbus.io/uid": "u"}


def test_a_status_keeps_the_newest_that_there_is_room_for() -> None:
    names = [f"trial-{i:06d}-{'x' * 40}" for i in range(10_000)]
    conditions = [{"type": "Running", "status": "True"}]
    view = {"status": {"succeededTrialList": names, "conditions": conditions, "trials": 10_000,
                       "completionTime": None}}  # fmt: skip
    status = status_of(view)
    assert len(str(status)) < MAX_STATUS_BYTES * 1.1
    assert status["succeededTrialList"][-1] == names[-1]
    assert len(status["succeededTrialList"]) > 1000
    assert (status["trials"], status["conditions"]) == (10_000, conditions)
    assert "completionTime" not in status
    small = {"status": {"succeededTrialList": names[:3]}}
    assert status_of(small) == small["status"]


def test_a_refusal_tells_every_problem_with_its_field() -> None:
    [condition] = refused_status(PROBLEMS, "2026-01-01T00:00:00Z")["conditions"]
    assert condition["message"] == "Experiment is refused: spec.a: is wrong; spec.b: too"
    assert (condition["type"], condition["status"]) == ("Failed", "True")


def test_a_refused_edit_leaves_the_last_condition_the_last() -> None:
    status = {"conditions": [{"type": "Created"}, {"type": "Running"}], "trials": 1}
    shown = with_refused_edit(status, PROBLEMS, "2026-01-01T00:00:00Z")
    assert [it["type"] for it in shown["conditions"]] == ["Created", "EditRefused", "Running"]
    assert shown["trials"] == 1


def test_the_same_refusal_is_the_same_event() -> None:
    first = refusal_event(resource(), "Refused", PROBLEMS, "2026-01-01T00:00:00Z")
    again = refusal_event(resource(), "Refused", PROBLEMS, "2026-01-02T00:00:00Z")
    other = refusal_event(resource(), "Refused", PROBLEMS[:1], "2026-01-01T00:00:00Z")
    assert first["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]
    assert len(first["metadata"]["name"]) <= 63
