"""Custom resources: served, checked against their schema, pruned, filled; status apart."""

from typing import Any

import pytest
from tests.cluster.contract.conftest import WITH_DEFINITIONS
from tests.cluster.contract.definitions import CRDS, VERSION, definition, sample
from tests.cluster.contract.targets import Target, name
from tests.cluster.contract.watching import watching, whole_watch

pytestmark = WITH_DEFINITIONS
Object = dict[str, Any]


def at(target: Target, name_: str = "", sub: str = "") -> str:
    return target.path("samples", name_, sub, group=f"{target.group}/{VERSION}")


def make(target: Target, body: Object, **more: Any) -> Any:
    return target.make(at(target), body, **more)


def fields(status: Object) -> dict[str, str]:
    return {cause["field"]: cause["reason"] for cause in status["details"]["causes"]}


def test_a_definition_is_served_and_discovered(served: Target) -> None:
    listed = served.get(f"/apis/{served.group}/{VERSION}")["resources"]
    assert {entry["name"] for entry in listed} == {"samples", "samples/status"}
    found = next(entry for entry in listed if entry["name"] == "samples")
    assert (found["kind"], found["shortNames"]) == ("Sample", ["smp"])
    assert served.get(f"/apis/{served.group}")["preferredVersion"]["version"] == VERSION


def test_defaults_are_filled_and_unknown_fields_pruned(served: Target) -> None:
    body = sample(served, name("a"), unknown=1, free={"any": {"thing": 1}}, labels={"x": "y"})
    spec = make(served, body)["spec"]
    assert spec == {
        "size": 2,
        "colour": "red",
        "nested": {"depth": 3},
        "free": {"any": {"thing": 1}},
        "labels": {"x": "y"},
    }


def test_unknown_fields_are_refused_when_that_is_asked(served: Target) -> None:
    body = sample(served, name("strict"), unknown=1)
    status = make(served, body, expect=400, fieldValidation="Strict")
    assert 'unknown field "spec.unknown"' in status["message"]


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"size": "two"}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 0}, "spec.size", "FieldValueInvalid"),
        ({"size": 11}, "spec.size", "FieldValueInvalid"),
        ({"colour": "green"}, "spec.colour", "FieldValueNotSupported"),
        ({"code": "A1"}, "spec.code", "FieldValueInvalid"),
        ({"code": "abcdef"}, "spec.code", "FieldValueTooLong"),
        ({"labels": {"a": 1}}, "spec.labels.a", "FieldValueTypeInvalid"),
        ({"parts": [{"value": 1}]}, "spec.parts[0].name", "FieldValueRequired"),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", "FieldValueDuplicate"),
        ({"parts": [{"name": str(i)} for i in range(4)]}, "spec.parts", "FieldValueTooMany"),
        ({"limit": 1}, "spec", "FieldValueInvalid"),
        ({"port": True}, "spec.port", "FieldValueTypeInvalid"),
    ],
)
def test_what_the_schema_forbids_is_refused_with_its_field(
    served: Target, spec: Object, field: str, reason: str
) -> None:
    status = make(served, sample(served, name("bad"), **spec), expect=422)
    assert status["reason"] == "Invalid"
    assert fields(status)[field] == reason


def test_every_problem_is_told_at_once(served: Target) -> None:
    body = sample(served, name("bad"), size=0, colour="green", code="A")
    assert {"spec.size", "spec.colour", "spec.code"} <= set(fields(make(served, body, expect=422)))


def test_a_missing_field_is_named(served: Target) -> None:
    body = sample(served, name("bad"))
    del body["spec"]["size"]
    assert fields(make(served, body, expect=422))["spec.size"] == "FieldValueRequired"


def test_rules_compare_with_what_was(served: Target) -> None:
    made = make(served, sample(served, name("rule"), fixed="a"))["metadata"]["name"]
    status = served.patch(at(served, made), {"spec": {"fixed": "b"}}, expect=422)
    assert fields(status) == {"spec.fixed": "FieldValueInvalid"}
    assert "is fixed" in status["message"]
    served.patch(at(served, made), {"spec": {"fixed": "a", "size": 3}})


def test_the_status_is_written_apart(served: Target) -> None:
    body = sample(served, wanted := name("status"))
    made = make(served, {**body, "status": {"phase": "Lied"}})
    assert "status" not in made
    place = at(served, wanted, "status")
    written = served.patch(place, {"status": {"phase": "Running"}, "spec": {"size": 9}})
    assert written["status"] == {"phase": "Running"}
    assert written["spec"]["size"] == 2
    assert written["metadata"]["generation"] == 1
    changed = served.patch(at(served, wanted), {"spec": {"size": 5}, "status": {"phase": "Lied"}})
    assert changed["status"] == {"phase": "Running"}
    assert changed["metadata"]["generation"] == 2


def test_a_status_with_an_old_version_is_a_conflict(served: Target) -> None:
    made = make(served, sample(served, wanted := name("status")))
    version = made["metadata"]["resourceVersion"]
    served.patch(at(served, wanted), {"spec": {"size": 4}})
    stale = {"metadata": {"resourceVersion": version}, "status": {"phase": "Old"}}
    assert served.patch(at(served, wanted, "status"), stale, expect=409)["reason"] == "Conflict"


def test_a_strategic_patch_of_a_custom_resource_is_a_415(served: Target) -> None:
    make(served, sample(served, wanted := name("strategic")))
    kind = "application/strategic-merge-patch+json"
    assert served.patch(at(served, wanted), {"spec": {}}, kind=kind, expect=415)["code"] == 415


def test_apply_merges_lists_by_their_keys(served: Target) -> None:
    body = sample(served, wanted := name("apply"), parts=[{"name": "a", "value": 1}])
    kind, query = "application/apply-patch+yaml", "fieldManager=trialbus&force=true"
    served.patch(at(served, wanted), body, kind=kind, expect=201, query=query)
    body["spec"]["parts"] = [{"name": "b", "value": 2}]
    other = "fieldManager=other&force=true"
    merged = served.patch(at(served, wanted), body, kind=kind, query=other)
    assert [part["name"] for part in merged["spec"]["parts"]] == ["a", "b"]


def test_a_dry_run_of_a_custom_resource_is_checked_and_not_stored(served: Target) -> None:
    wanted = name("dry")
    make(served, sample(served, wanted), dryRun="All")
    assert served.call("GET", at(served, wanted), expect=404)["reason"] == "NotFound"
    make(served, sample(served, wanted, size=0), expect=422, dryRun="All")


def test_a_custom_resource_is_watched(served: Target) -> None:
    version = served.get(at(served))["metadata"]["resourceVersion"]
    with watching(served, at(served), resourceVersion=version) as watched:
        make(served, sample(served, wanted := name("watched")))
        served.patch(at(served, wanted, "status"), {"status": {"phase": "Running"}})
        served.delete(at(served, wanted))
        served.until(lambda: "DELETED" in watched.kinds(), "its whole life")
    assert watched.kinds() == ["ADDED", "MODIFIED", "DELETED"]
    assert watched.events[1]["object"]["status"] == {"phase": "Running"}


def test_a_watch_from_long_ago_ends_with_a_410(served: Target) -> None:
    """From before there was the definition. Of ConfigMaps a server that never began anew has all
    events since its first, while they are few."""
    watched = whole_watch(served, at(served), resourceVersion="1")
    assert [event["type"] for event in watched.events] == ["ERROR"]
    status = watched.events[0]["object"]
    assert (status["code"], status["reason"]) == (410, "Expired")


def test_a_table_has_the_columns_of_the_definition(served: Target) -> None:
    make(served, sample(served, wanted := name("row"), size=7))
    conditions = [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]
    status = {"status": {"phase": "Running", "conditions": conditions}}
    served.patch(at(served, wanted, "status"), status)
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = served.call("GET", at(served), headers=accept)
    heads = [column["name"] for column in table["columnDefinitions"]]
    assert heads == ["Name", "Phase", "Ready", "Size", "Age"]
    row = next(row for row in table["rows"] if row["cells"][0] == wanted)
    assert row["cells"][:4] == [wanted, "Running", "True", 7]


def test_a_schema_that_is_not_structural_is_refused(target: Target) -> None:
    body = definition(f"bad.{target.group}")
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    broken = {**spec, "properties": {**spec["properties"], "size": {"minimum": 1}}}
    body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"spec": broken}
    status = target.make(CRDS, body, expect=422)
    assert any(field.endswith("properties[size].type") for field in fields(status))


def test_a_definition_has_the_name_of_its_plural_and_group(target: Target) -> None:
    body = definition(target.group)
    body["metadata"]["name"] = "others.example.com"
    assert "metadata.name" in fields(target.make(CRDS, body, expect=422))


def test_a_list_by_name_says_that_an_object_is_not_there_and_when_that_is(served: Target) -> None:
    """What a deletion is believed by: the kind is served, and time has not gone back."""
    made = make(served, sample(served, name("by-name")))
    query = {"fieldSelector": f"metadata.name={made['metadata']['name']}"}
    there = served.get(at(served), **query)
    assert [it["metadata"]["uid"] for it in there["items"]] == [made["metadata"]["uid"]]
    served.delete(at(served, made["metadata"]["name"]))
    gone = served.get(at(served), **query)
    assert gone["items"] == []
    versions = [int(it["metadata"]["resourceVersion"]) for it in (made, there, gone)]
    assert versions == sorted(versions)
    assert versions[2] > versions[0]


def test_what_has_gone_comes_back_with_another_uid(served: Target) -> None:
    again = name("again")
    uids = []
    for _ in range(2):
        uids.append(make(served, sample(served, again))["metadata"]["uid"])
        served.delete(at(served, again))
        served.expect_gone(at(served, again))
    assert len(set(uids)) == 2
