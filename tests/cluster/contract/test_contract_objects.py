"""One object at a time: create, conflict, update, patch, delete, dry run, and how it is refused."""

import pytest
from tests.cluster.contract.targets import HOLD, Target, config_map, job, name, pod_spec

JOBS = "batch/v1"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


def test_an_object_is_stored_with_an_identity(target: Target) -> None:
    path = target.path("configmaps")
    wanted = name("a")
    made = target.make(path, config_map(wanted, colour="red"))
    assert made["metadata"]["name"] == wanted
    assert made["metadata"]["namespace"] == target.namespace
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert int(made["metadata"]["resourceVersion"]) > 0
    read = target.get(target.path("configmaps", wanted))
    assert read["data"] == {"a": "1"}
    assert read["metadata"]["uid"] == made["metadata"]["uid"]
    assert read["metadata"]["labels"] == {"colour": "red"}


def test_a_second_object_of_the_name_is_a_409_that_says_already_exists(target: Target) -> None:
    body = job(name("twice"), "true", suspend=True)
    path = target.path("jobs", group=JOBS)
    target.make(path, body)
    status = target.make(path, body, expect=409)
    assert status["kind"] == "Status"
    assert status["reason"] == "AlreadyExists"
    assert status["details"]["kind"] == "jobs"
    assert status["details"]["group"] == "batch"
    assert status["details"]["name"] == body["metadata"]["name"]


def test_what_is_not_there_is_a_404(target: Target) -> None:
    for path in ("configmaps", "pods"):
        status = target.call("GET", target.path(path, "none-such"), expect=404)
        assert status["reason"] == "NotFound"
    assert target.delete(target.path("pods", "none-such"), expect=404)["code"] == 404
    nowhere = "/api/v1/namespaces/none-such-at-all/configmaps"
    status = target.make(nowhere, config_map("a"), expect=404)
    assert status["details"] == {"name": "none-such-at-all", "kind": "namespaces"}


def test_generate_name_makes_a_name(target: Target) -> None:
    body = config_map("")
    body["metadata"] = {"generateName": "made-"}
    first, second = (target.make(target.path("configmaps"), body) for _ in range(2))
    assert first["metadata"]["name"].startswith("made-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_an_update_needs_the_version_that_it_was_made_from(target: Target) -> None:
    path = target.path("configmaps", wanted := name("cas"))
    old = target.make(target.path("configmaps"), config_map(wanted))
    new = target.call("PUT", path, json={**old, "data": {"a": "2"}})
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    status = target.call("PUT", path, json={**old, "data": {"a": "3"}}, expect=409)
    assert status["reason"] == "Conflict"
    assert target.get(path)["data"] == {"a": "2"}


def test_a_merge_patch_with_a_version_is_a_compare_and_set(target: Target) -> None:
    path = target.path("configmaps", wanted := name("cas"))
    old = target.make(target.path("configmaps"), config_map(wanted))["metadata"]["resourceVersion"]
    target.patch(path, {"metadata": {"resourceVersion": old}, "data": {"b": "2"}})
    stale = {"metadata": {"resourceVersion": old}, "data": {"b": "3"}}
    assert target.patch(path, stale, expect=409)["reason"] == "Conflict"
    assert target.patch(path, {"data": {"a": None}})["data"] == {"b": "2"}


def test_a_change_that_changes_nothing_makes_no_version(target: Target) -> None:
    path = target.path("configmaps", wanted := name("same"))
    made = target.make(target.path("configmaps"), config_map(wanted))
    again = target.patch(path, {"data": {"a": "1"}})
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_json_patch_whose_test_fails_is_a_422(target: Target) -> None:
    path = target.path("configmaps", wanted := name("json"))
    target.make(target.path("configmaps"), config_map(wanted))
    good = [{"op": "test", "path": "/data/a", "value": "1"}]
    good.append({"op": "replace", "path": "/data/a", "value": "2"})
    assert target.patch(path, good, kind=JSON_PATCH)["data"] == {"a": "2"}
    assert target.patch(path, good, kind=JSON_PATCH, expect=422)["code"] == 422


def test_a_strategic_patch_merges_lists_by_their_key(target: Target) -> None:
    path = target.path("jobs", wanted := name("strategic"), group=JOBS)
    finalizers = {"metadata": {"name": wanted}}
    target.make(target.path("jobs", group=JOBS), job(wanted, "true", suspend=True))
    more = {"spec": {"template": {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}}}
    patched = target.patch(path, more | finalizers, kind=STRATEGIC)
    template = patched["spec"]["template"]["spec"]
    assert [t["key"] for t in template["tolerations"]] == ["a"]
    assert [c["name"] for c in template["containers"]] == ["main"]


def test_a_delete_can_name_the_uid_that_it_means(target: Target) -> None:
    path = target.path("configmaps", wanted := name("uid"))
    uid = target.make(target.path("configmaps"), config_map(wanted))["metadata"]["uid"]
    other = {"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}}
    assert target.delete(path, other, expect=409)["reason"] == "Conflict"
    assert target.delete(path, {"preconditions": {"uid": uid}})["status"] == "Success"
    target.call("GET", path, expect=404)


def test_a_name_that_is_used_again_has_another_uid(target: Target) -> None:
    wanted, path = name("again"), target.path("configmaps")
    first = target.make(path, config_map(wanted))["metadata"]["uid"]
    target.delete(target.path("configmaps", wanted))
    assert target.make(path, config_map(wanted))["metadata"]["uid"] != first


def test_a_dry_run_checks_and_stores_nothing(target: Target) -> None:
    path = target.path("jobs", group=JOBS)
    body = job(wanted := name("dry"), "true")
    made = target.make(path, body, dryRun="All")
    assert made["spec"]["completions"] == 1
    target.call("GET", target.path("jobs", wanted, group=JOBS), expect=404)
    body["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    status = target.make(path, body, expect=422, dryRun="All")
    assert status["details"]["causes"][0]["field"] == "spec.template.spec.restartPolicy"


def test_a_finalizer_holds_what_is_deleted(target: Target) -> None:
    path = target.path("configmaps", wanted := name("held"))
    body = config_map(wanted)
    body["metadata"]["finalizers"] = [HOLD]
    target.make(target.path("configmaps"), body)
    target.delete(path)
    assert target.get(path)["metadata"]["deletionTimestamp"]
    target.patch(path, {"metadata": {"finalizers": None}})
    target.call("GET", path, expect=404)


def test_a_name_that_is_none_is_refused_with_its_field(target: Target) -> None:
    status = target.make(target.path("configmaps"), config_map("Not_A_Name"), expect=422)
    assert status["reason"] == "Invalid"
    assert [cause["field"] for cause in status["details"]["causes"]] == ["metadata.name"]


def test_a_job_without_an_image_is_refused_with_its_field(target: Target) -> None:
    body = job(name("bad"), "true")
    del body["spec"]["template"]["spec"]["containers"][0]["image"]
    status = target.make(target.path("jobs", group=JOBS), body, expect=422)
    fields = {cause["field"]: cause["reason"] for cause in status["details"]["causes"]}
    assert fields["spec.template.spec.containers[0].image"] == "FieldValueRequired"


def test_a_field_of_the_wrong_type_is_a_400(target: Target) -> None:
    body = job(name("bad"), "true", backoffLimit="many")
    assert target.make(target.path("jobs", group=JOBS), body, expect=400)["reason"] == "BadRequest"


def test_unknown_fields_are_refused_or_dropped_as_asked(target: Target) -> None:
    path = target.path("jobs", group=JOBS)
    body = job(name("unknown"), "true", suspend=True, colour="red")
    status = target.make(path, body, expect=400, fieldValidation="Strict")
    assert 'unknown field "spec.colour"' in status["message"]
    assert "colour" not in target.make(path, body, fieldValidation="Ignore")["spec"]


def test_unknown_fields_are_warned_about(target: Target) -> None:
    body = job(name("unknown"), "true", suspend=True, colour="red")
    answer = target.http.post(target.path("jobs", group=JOBS), json=body)
    assert answer.status_code == 201
    assert "unknown field" in answer.headers["Warning"]


def test_the_template_of_a_job_cannot_be_changed(target: Target) -> None:
    path = target.path("jobs", wanted := name("fixed"), group=JOBS)
    target.make(target.path("jobs", group=JOBS), job(wanted, "sleep 60"))
    change = {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}
    status = target.patch(path, change, expect=422)
    assert status["details"]["causes"][0]["field"] == "spec.template"
    target.delete(path, {"propagationPolicy": "Background"})


def test_a_generation_counts_changes_of_the_spec_alone(target: Target) -> None:
    path = target.path("jobs", wanted := name("generation"), group=JOBS)
    made = target.make(target.path("jobs", group=JOBS), job(wanted, "true", suspend=True))
    assert made["metadata"]["generation"] == 1
    labelled = target.patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    changed = target.patch(path, {"spec": {"activeDeadlineSeconds": 60}})
    assert changed["metadata"]["generation"] == 2


def test_apply_makes_changes_and_takes_back(target: Target) -> None:
    path = target.path("configmaps", wanted := name("apply"))
    body = config_map(wanted) | {"data": {"a": "1", "b": "2"}}
    query = "fieldManager=trialbus&force=true"
    assert target.patch(path, body, kind=APPLY, expect=201, query=query)["data"] == body["data"]
    target.patch(path, {"data": {"c": "3"}}, query="fieldManager=somebody")
    body["data"] = {"a": "9"}
    applied = target.patch(path, body, kind=APPLY, query=query)
    assert applied["data"] == {"a": "9", "c": "3"}


def test_a_collection_is_deleted_by_its_labels(target: Target) -> None:
    path, mark = target.path("configmaps"), name("mark")
    for i in range(3):
        target.make(path, config_map(f"{mark}-{i}", mark=mark, odd=str(i % 2)))
    selector = f"mark={mark},odd=0"
    target.call("DELETE", path, params={"labelSelector": selector})
    left = target.get(path, labelSelector=f"mark={mark}")["items"]
    assert [item["metadata"]["name"] for item in left] == [f"{mark}-1"]


def test_wrong_methods_and_bodies_are_refused(target: Target) -> None:
    assert target.call("PATCH", target.path("configmaps"), json={}, expect=405)["code"] == 405
    body = {**config_map(name("wrong")), "apiVersion": "v2"}
    assert target.make(target.path("configmaps"), body, expect=400)["reason"] == "BadRequest"
    elsewhere = config_map(name("wrong"))
    elsewhere["metadata"]["namespace"] = "default"
    assert target.make(target.path("configmaps"), elsewhere, expect=400)["code"] == 400
    for unknown in ("/apis/none.such.group/v1/things", "/apis/batch/v1/namespaces/a/things"):
        assert target.http.get(unknown).status_code == 404


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_an_account_can_ask_what_it_may(target: Target, verb: str) -> None:
    asked = {"namespace": target.namespace, "verb": verb, "group": "batch", "resource": "jobs"}
    answer = target.make(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        },
    )
    assert answer["status"]["allowed"] is True


def test_a_table_has_a_row_for_each_object(target: Target) -> None:
    target.make(target.path("jobs", group=JOBS), job(wanted := name("row"), "true", suspend=True))
    target.until_condition(target.path("jobs", wanted, group=JOBS), "Suspended")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = target.call("GET", target.path("jobs", group=JOBS), headers=accept)
    assert table["kind"] == "Table"
    heads = [column["name"] for column in table["columnDefinitions"]]
    assert heads[:3] == ["Name", "Status", "Completions"]
    rows = {row["cells"][0]: row for row in table["rows"]}
    assert rows[wanted]["cells"][1:3] == ["Suspended", "0/1"]
    assert rows[wanted]["object"]["kind"] == "PartialObjectMetadata"


def test_what_is_served_can_be_discovered(target: Target) -> None:
    assert target.get("/version")["major"] == "1"
    groups = {group["name"] for group in target.get("/apis")["groups"]}
    assert {"batch", "coordination.k8s.io", "apiextensions.k8s.io"} <= groups
    listed = target.get("/apis/batch/v1")["resources"]
    jobs = next(resource for resource in listed if resource["name"] == "jobs")
    assert jobs["namespaced"]
    assert jobs["kind"] == "Job"
    assert {"create", "delete", "get", "list", "patch", "watch"} <= set(jobs["verbs"])
    assert any(resource["name"] == "pods/log" for resource in target.get("/api/v1")["resources"])


def test_a_pod_gets_its_defaults(target: Target) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name("defaults")}}
    spec = pod_spec("true", schedulingGates=[{"name": "trialbus.io/never"}])
    made = target.make(target.path("pods"), {**body, "spec": spec})
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert made["spec"]["dnsPolicy"] == "ClusterFirst"
