"""What Kubernetes' clients ask before anything else: discovery and OpenAPI."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.gateway_world import World, gateway_world

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PARTS = {"experiments", "suggestions", "trials"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


async def asked(world: World, path: str, accept: str) -> tuple[str, dict[str, Any]]:
    answer = await world.client.get(path, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.headers["content-type"], answer.json()


async def test_the_version_makes_clients_go_by_openapi_v3(world: World) -> None:
    found = await world.get("/version")
    assert (found["major"], found["minor"]) == ("1", "32")
    assert found["gitVersion"].startswith("v1.32.0+trialbus-")
    # Every field of version.Info that clients without defaults decode.
    assert {"gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"} <= set(
        found
    )


async def test_groups_and_versions_lead_to_the_resources(world: World) -> None:
    assert (await world.get("/api"))["versions"] == ["v1"]
    groups = await world.get("/apis")
    assert groups["kind"] == "APIGroupList"
    [ours] = [group for group in groups["groups"] if group["name"] == "kubeflow.org"]
    assert ours["preferredVersion"] == {"groupVersion": "kubeflow.org/v1beta1",
                                        "version": "v1beta1"}  # fmt: skip
    one = await world.get("/apis/kubeflow.org")
    assert (one["kind"], one["versions"]) == ("APIGroup", ours["versions"])
    for group in groups["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        found = await world.get(f"/apis/{version}")
        assert (found["kind"], found["groupVersion"]) == ("APIResourceList", version)
    assert (await world.get("/api/v1"))["groupVersion"] == "v1"


async def test_katibs_resources_have_their_names_and_categories(world: World) -> None:
    found = await world.get("/apis/kubeflow.org/v1beta1")
    resources = {it["name"]: it for it in found["resources"]}
    assert set(resources) == PARTS | {f"{part}/status" for part in PARTS}
    for part in PARTS:
        assert resources[part]["namespaced"]
        assert resources[part]["singularName"] == part.removesuffix("s")
        assert resources[part]["categories"] == ["all", "kubeflow", "katib"]
        assert {"get", "list", "watch"} <= set(resources[part]["verbs"])
    assert {"create", "update", "patch", "delete"} <= set(resources["experiments"]["verbs"])


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery_holds_the_same(world: World, version: str) -> None:
    accept = AGGREGATED.format(version) + ",application/json"
    media, found = await asked(world, "/apis", accept)
    assert media == AGGREGATED.format(version)
    assert (found["kind"], found["apiVersion"]) == (
        "APIGroupDiscoveryList",
        f"apidiscovery.k8s.io/{version}",
    )
    [ours] = [it for it in found["items"] if it["metadata"]["name"] == "kubeflow.org"]
    [only] = ours["versions"]
    resources = {it["resource"]: it for it in only["resources"]}
    assert set(resources) == PARTS
    experiments = resources["experiments"]
    assert experiments["responseKind"] == {
        "group": "kubeflow.org",
        "version": "v1beta1",
        "kind": "Experiment",
    }
    assert [it["subresource"] for it in experiments["subresources"]] == ["status"]
    _, core = await asked(world, "/api", accept)
    assert {it["resource"] for it in core["items"][0]["versions"][0]["resources"]} >= {"pods"}


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "", AGGREGATED.format("v9") + ",application/json"]
)
async def test_plain_discovery_where_nothing_else_is_asked_for(world: World, accept: str) -> None:
    media, found = await asked(world, "/apis", accept)
    assert (media, found["kind"]) == ("application/json", "APIGroupList")


async def test_the_server_says_that_it_lives(world: World) -> None:
    for path in ("/livez", "/readyz", "/healthz"):
        assert (await world.client.get(path)).status_code == 200


async def test_openapi_documents_are_kept_as_long_as_their_address_holds(world: World) -> None:
    paths = (await world.get("/openapi/v3"))["paths"]
    assert set(paths) >= {"api/v1", "apis/kubeflow.org/v1beta1"}
    where = paths["apis/kubeflow.org/v1beta1"]["serverRelativeURL"]
    answer = await world.client.get(where)
    assert answer.headers["cache-control"] == "public, immutable"
    assert {"etag", "expires", "vary"} <= set(answer.headers)
    tag = {"if-none-match": answer.headers["etag"]}
    assert (await world.client.get(where, headers=tag)).status_code == 304
    old = await world.client.get(where.partition("=")[0] + "=OLD")
    assert (old.status_code, old.headers["location"]) == (301, where)
    plain = await world.client.get(where.partition("?")[0])
    assert plain.json() == answer.json()
    assert "cache-control" not in plain.headers


async def test_kubectl_leaves_the_check_of_fields_to_the_server(world: World) -> None:
    """QueryParamVerifierV3: the patch of the kind takes `fieldValidation`."""
    for path, one, kind in (
        (
            "apis/kubeflow.org/v1beta1",
            "/apis/kubeflow.org/v1beta1/namespaces/{namespace}/experiments/{name}",
            "Experiment",
        ),
        ("api/v1", "/api/v1/namespaces/{name}", "Namespace"),
    ):
        document = await world.get(f"/openapi/v3/{path}")
        patch = document["paths"][one]["patch"]
        assert patch["x-kubernetes-group-version-kind"]["kind"] == kind
        assert "fieldValidation" in [it["name"] for it in patch["parameters"]]


async def test_swagger_is_there_as_json_and_empty_as_protobuf(world: World) -> None:
    """kubectl refuses a type with an @, and a document that is no `openapi.v2.Document`."""
    assert (await world.get("/openapi/v2"))["swagger"] == "2.0"
    answer = await world.client.get("/openapi/v2", headers={"accept": PROTOBUF})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == PROTOBUF.replace("@", ".")
    swagger, info = b"\x0a\x032.0", b"\x0a\x08trialbus\x12\x05empty"
    assert answer.content == swagger + b"\x12" + bytes([len(info)]) + info
    assert (await world.client.get("/openapi/v3/apis/other/v1")).status_code == 404
