"""Who wrote which field, and what server-side apply makes of it."""

from copy import deepcopy
from typing import Any

import pytest

from trialbus.testkit.processor_time import cpu_s
from trialbus_gateway.adapters.kubernetes.managed_fields import (
    ANCIENT,
    APPLY,
    BEFORE_FIRST_APPLY,
    MAX_UPDATE_MANAGERS,
    UPDATE,
    Object,
    applied,
    leaves,
    managers_of,
    updated,
)
from trialbus_gateway.adapters.kubernetes.status_objects import StatusFailure

T1, T2, T3 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"


def thing(spec: Any = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "x", "namespace": "ns", **metadata},
        "spec": {} if spec is None else spec,
    }


def owned(obj: Object) -> dict[tuple[str, str], set[str]]:
    return {
        (it.name, it.operation): {".".join(path) for path in it.paths} for it in managers_of(obj)
    }


def apply(live: Object, config: Object, name: str, at: str, *, force: bool = False) -> Object:
    before = deepcopy(live)
    result = applied(live, config, name, at, defaulted=lambda obj: obj, force=force)
    assert live == before
    return result


def test_leaves_are_values_lists_and_empty_objects_that_users_write() -> None:
    obj = {
        **thing({"max": 3, "list": [{"a": 1}], "free": {"deep": {"x": None}, "empty": {}}}),
        "status": {"trials": 3},
    }
    obj["metadata"] |= {"labels": {"a.b/c": "1"}, "uid": "u", "managedFields": []}
    assert {".".join(path) for path in leaves(obj)} == {
        "spec.max", "spec.list", "spec.free.deep.x", "spec.free.empty", "metadata.labels.a.b/c",
    }  # fmt: skip


def test_entries_are_written_as_kubernetes_writes_them() -> None:
    made = updated({}, thing({"max": 3, "free": {"a": 1}}, labels={"a.b/c": "1"}), "me", T1)
    assert made["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Update",
            "apiVersion": "kubeflow.org/v1beta1",
            "time": T1,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:a.b/c": {}}},
                "f:spec": {"f:free": {"f:a": {}}, "f:max": {}},
            },
        }
    ]


def test_entries_of_a_real_api_server_are_read() -> None:
    fields = {
        "f:metadata": {"f:annotations": {".": {}, "f:note": {}}},
        "f:spec": {"f:items": {'k:{"name":"a"}': {".": {}, "f:name": {}}}},
    }
    entry = {"manager": "k", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}
    unreadable = [{"manager": 3}, "x", {"manager": "n", "operation": "Update"}]
    obj = thing(managedFields=[entry, *unreadable])
    assert owned(obj) == {("k", UPDATE): {"metadata.annotations.note", "spec.items"}}


# Updates ---------------------------------------------------------------------------------------


def test_an_update_owns_what_it_changes_and_the_others_lose_it() -> None:
    first = updated({}, thing({"max": 3, "parallel": 2}), "creator", T1)
    second = updated(first, {**first, "spec": {"max": 4, "parallel": 2, "new": 1}}, "editor", T2)
    assert owned(second) == {
        ("creator", UPDATE): {"spec.parallel"},
        ("editor", UPDATE): {"spec.max", "spec.new"},
    }
    assert [it.time for it in managers_of(second)] == [T2, T2]


def test_what_is_removed_belongs_to_nobody() -> None:
    first = updated({}, thing({"max": 3, "parallel": 2}), "creator", T1)
    second = updated(first, {**first, "spec": {"max": 3}}, "editor", T2)
    assert owned(second) == {("creator", UPDATE): {"spec.max"}}


def test_an_update_without_a_change_leaves_every_entry() -> None:
    first = updated({}, thing({"max": 3}), "creator", T1)
    assert updated(first, first, "creator", T2) == first
    assert updated(first, first, "other", T2) == first


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_update_may_forget_all_owners(reset: list[Any]) -> None:
    first = updated({}, thing({"max": 3}), "creator", T1)
    second = updated(first, thing({"max": 3}, managedFields=reset), "other", T2)
    assert managers_of(second) == []


def test_many_updaters_become_one_entry() -> None:
    obj = thing({})
    for number in range(MAX_UPDATE_MANAGERS + 5):
        spec = {**obj["spec"], f"f{number:02}": 1}
        time = f"2026-01-01T00:00:{number:02}Z"
        obj = updated(obj, {**obj, "spec": spec}, f"script-{number}", time)
    managers = managers_of(obj)
    assert len(managers) == MAX_UPDATE_MANAGERS
    assert len(next(it for it in managers if it.name == ANCIENT).paths) == 6


# Applying --------------------------------------------------------------------------------------


def test_the_first_apply_creates_and_owns() -> None:
    made = apply({}, thing({"max": 3}, labels={"a": "1"}), "me", T1)
    assert made["spec"] == {"max": 3}
    assert owned(made) == {("me", APPLY): {"spec.max", "metadata.labels.a"}}


def test_the_same_apply_again_changes_nothing() -> None:
    config = thing({"max": 3, "list": [1, 2]})
    first = apply({}, config, "me", T1)
    assert apply(first, config, "me", T2) == first


def test_what_is_applied_no_more_goes_unless_somebody_else_owns_it() -> None:
    first = apply({}, thing({"max": 3, "parallel": 2}, labels={"a": "1", "b": "2"}), "me", T1)
    both = apply(first, thing({"parallel": 2}), "other", T2)
    after = apply(both, thing({}), "me", T3)
    assert after["spec"] == {"parallel": 2}
    assert "labels" not in after["metadata"]
    assert owned(after) == {("other", APPLY): {"spec.parallel"}}


def test_fields_of_another_manager_are_a_conflict_only_when_they_would_change() -> None:
    live = updated({}, thing({"max": 3, "parallel": 2}), "editor", T1)
    same = apply(live, thing({"max": 3}), "me", T2)
    assert owned(same)["me", APPLY] == {"spec.max"}
    with pytest.raises(StatusFailure) as failure:
        apply(live, thing({"max": 4, "parallel": 1}), "me", T2)
    assert failure.value.code == 409
    assert [it["field"] for it in failure.value.details["causes"]] == [
        ".spec.max",
        ".spec.parallel",
    ]
    assert {it["reason"] for it in failure.value.details["causes"]} == {"FieldManagerConflict"}
    assert 'conflict with "editor" using kubeflow.org/v1beta1' in failure.value.message


def test_force_takes_the_field_away_from_the_other() -> None:
    live = updated({}, thing({"max": 3, "parallel": 2}), "editor", T1)
    after = apply(live, thing({"max": 4}), "me", T2, force=True)
    assert after["spec"] == {"max": 4, "parallel": 2}
    assert owned(after) == {("editor", UPDATE): {"spec.parallel"}, ("me", APPLY): {"spec.max"}}


def test_lists_are_one_value() -> None:
    live = apply({}, thing({"list": [1, 2]}), "me", T1)
    after = apply(live, thing({"list": [3]}), "me", T2)
    assert after["spec"] == {"list": [3]}
    with pytest.raises(StatusFailure):
        apply(live, thing({"list": [1, 2, 3]}), "other", T2)


def test_an_object_in_the_place_of_a_value_is_a_change_of_it() -> None:
    live = updated({}, thing({"a": 1}), "editor", T1)
    with pytest.raises(StatusFailure):
        apply(live, thing({"a": {"b": 1}}), "me", T2)
    after = apply(live, thing({"a": {"b": 1}}), "me", T2, force=True)
    assert after["spec"] == {"a": {"b": 1}}
    assert owned(after) == {("me", APPLY): {"spec.a.b"}}


def test_an_empty_object_is_shared_and_its_parts_are_not_kept_by_it() -> None:
    live = apply({}, thing({"a": {}}), "other", T1)
    both = apply(live, thing({"a": {"b": 1}}), "me", T2)
    assert both["spec"] == {"a": {"b": 1}}
    assert apply(both, thing({"a": {}}), "me", T3)["spec"] == {"a": {}}


def test_what_nobody_is_known_to_have_written_is_not_overwritten_silently() -> None:
    live = thing({"max": 3, "parallel": 2})
    with pytest.raises(StatusFailure, match=BEFORE_FIRST_APPLY):
        apply(live, thing({"max": 4}), "me", T1)
    assert owned(apply(live, thing({"max": 3}), "me", T1)) == {
        (BEFORE_FIRST_APPLY, UPDATE): {"spec.max", "spec.parallel"},
        ("me", APPLY): {"spec.max"},
    }


def test_a_value_that_only_lacks_defaults_is_the_same() -> None:
    def defaulted(obj: Object) -> Object:
        return {**obj, "spec": {"list": [{"d": "uniform", **it} for it in obj["spec"]["list"]]}}

    live = updated({}, thing({"list": [{"a": 1, "d": "uniform"}]}), "creator", T1)
    config = thing({"list": [{"a": 1}]})
    after = applied(live, config, "me", T2, defaulted=defaulted, force=False)
    assert owned(after) == {("creator", UPDATE): {"spec.list"}, ("me", APPLY): {"spec.list"}}


def test_thousands_of_fields_are_withdrawn_at_once() -> None:
    many = {f"a{number}": "" for number in range(10_000)}
    live = apply({}, thing(annotations=many, labels={"a": "b"}), "me", T1)
    before = deepcopy(live)
    config = thing(labels={"a": "b"})
    assert cpu_s(lambda: apply(live, config, "me", T2)) < 0.5
    left = apply(live, config, "me", T2)
    assert "annotations" not in left["metadata"]
    assert left["metadata"]["labels"] == {"a": "b"}
    assert live == before
