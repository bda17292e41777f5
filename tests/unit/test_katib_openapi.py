"""The OpenAPI documents: what kubectl looks for is there, and nothing refers to nothing."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.core.result import Ok

from trialbus.contracts.katib.openapi import openapi_v2, openapi_v3

V3, V2 = openapi_v3(), openapi_v2()
SCHEMAS = V3["components"]["schemas"]
ROOT = "/apis/kubeflow.org/v1beta1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
KINDS = {"experiments": "Experiment", "suggestions": "Suggestion", "trials": "Trial"}
VERBS = {"get", "put", "post", "delete", "patch"}


def in_one(plural: str) -> str:
    return f"{ROOT}/namespaces/{{namespace}}/{plural}"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for verb in VERBS & item.keys():
            yield path, verb, item[verb]


@pytest.mark.parametrize("plural", KINDS)
def test_all_operations_are_there(plural: str) -> None:
    found: dict[str, set[str]] = {}
    for path, verb, _ in operations(V3):
        found.setdefault(path, set()).add(verb)
    assert found[f"{ROOT}/{plural}"] == {"get"}
    assert found[in_one(plural)] == {"get", "post", "delete"}
    assert found[f"{in_one(plural)}/{{name}}"] == {"get", "put", "patch", "delete"}
    assert found[f"{in_one(plural)}/{{name}}/status"] == {"get", "put", "patch"}


@pytest.mark.parametrize(("plural", "kind"), KINDS.items())
def test_kubectl_finds_the_kind_by_its_path_and_its_schema(plural: str, kind: str) -> None:
    wanted = {"group": "kubeflow.org", "version": "v1beta1", "kind": kind}
    for path, _, operation in operations(V3):
        if f"/{plural}" in path:
            assert operation["x-kubernetes-group-version-kind"] == wanted
    schema = SCHEMAS[f"org.kubeflow.v1beta1.{kind}"]
    assert schema["x-kubernetes-group-version-kind"] == [wanted]
    assert schema["properties"]["metadata"]["allOf"] == [
        {"$ref": f"#/components/schemas/{META}ObjectMeta"}
    ]
    assert V2["definitions"][f"org.kubeflow.v1beta1.{kind}"]["x-kubernetes-group-version-kind"] == [
        wanted
    ]


@pytest.mark.parametrize("plural", KINDS)
@pytest.mark.parametrize("part", ["", "/status"])
def test_kubectl_finds_that_a_patch_is_checked_by_the_server(plural: str, part: str) -> None:
    patch = V3["paths"][f"{in_one(plural)}/{{name}}{part}"]["patch"]
    queries = {parameter["name"] for parameter in patch["parameters"]}
    assert queries == {"dryRun", "fieldManager", "fieldValidation", "force"}
    assert set(patch["requestBody"]["content"]) == {
        "application/merge-patch+json",
        "application/apply-patch+yaml",
        "application/json-patch+json",
    }


def test_a_list_takes_selectors_and_is_watched() -> None:
    listing = V3["paths"][in_one("trials")]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
    }
    content = listing["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("v1beta1.TrialList")
    assert content["application/json;stream=watch"]["schema"]["$ref"].endswith("WatchEvent")


def test_refusals_are_told_as_status() -> None:
    status = f"#/components/schemas/{META}Status"
    for _, _, operation in operations(V3):
        for code, response in operation["responses"].items():
            if not code.startswith("2"):
                assert response["content"]["application/json"]["schema"] == {"$ref": status}


@pytest.mark.parametrize("name", ["Status", "ObjectMeta", "ListMeta", "DeleteOptions",
                                  "WatchEvent", "Table", "APIResourceList"])  # fmt: skip
def test_shared_schemas_have_their_kubernetes_names(name: str) -> None:
    assert SCHEMAS[f"{META}{name}"]["properties"]
    assert V2["definitions"][f"{META}{name}"]["properties"]


def test_every_operation_has_its_own_name() -> None:
    names = [operation["operationId"] for _, _, operation in operations(V3)]
    assert len(names) == len(set(names)) == 34


@pytest.mark.parametrize(
    ("document", "prefix"), [(V3, "#/components/schemas/"), (V2, "#/definitions/")]
)
def test_no_reference_leads_nowhere(document: dict[str, Any], prefix: str) -> None:
    referred = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    known = document.get("definitions") or document["components"]["schemas"]
    assert referred
    assert {name for name in referred if name.removeprefix(prefix) not in known} == set()


def test_version_2_has_none_of_the_words_of_version_3() -> None:
    text = json.dumps(V2)
    for word in ("nullable", "anyOf", "allOf", "requestBody", "components", "content"):
        assert f'"{word}":' not in text
    post = V2["paths"][in_one("experiments")]["post"]
    assert post["consumes"] == ["application/json", "application/yaml"]
    body = {parameter["in"]: parameter for parameter in post["parameters"]}["body"]
    assert body["schema"] == {"$ref": "#/definitions/org.kubeflow.v1beta1.Experiment"}


def test_both_versions_say_the_same_of_the_spec() -> None:
    spec = SCHEMAS["org.kubeflow.v1beta1.Experiment"]["properties"]["spec"]["properties"]
    old = V2["definitions"]["org.kubeflow.v1beta1.Experiment"]["properties"]["spec"]["properties"]
    assert spec.keys() == old.keys()
    assert {name: it["description"] for name, it in spec.items()} == {
        name: it["description"] for name, it in old.items()
    }


@pytest.mark.parametrize("document", [V3, V2], ids=["v3", "v2"])
def test_generators_of_calls_read_the_documents(document: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    read = list(schema.get_all_operations())
    assert len([result for result in read if isinstance(result, Ok)]) == len(read) == 34
