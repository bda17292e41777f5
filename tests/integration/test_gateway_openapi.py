"""The OpenAPI document: all that is served is in it, and its examples are true."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from trialbus.testkit.documented_answers import DocumentedAnswers
from trialbus.testkit.gateway_examples import example_world
from trialbus.testkit.gateway_world import World
from trialbus_gateway.adapters.rest.document import described_routes, openapi, sent_body, target_of
from trialbus_gateway.adapters.rest.operations import DescribedRoute, Example

# Served, and not described yet: for the time in which a route is being made.
UNDESCRIBED: set[tuple[str, str]] = set()
METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with example_world(tmp_path) as made:
        yield made


@pytest.fixture
async def document(world: World) -> Any:
    return await world.get("/v1/openapi.json")


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            yield method.upper(), path, item[method]


async def test_every_route_under_v1_is_described_and_the_other_way_round(
    world: World, document: Any
) -> None:
    served = {
        (method, route.path)
        for route in world.app.routes
        if route.path.startswith(("/v1/", "/prometheus/"))
        for method in route.methods - {"HEAD"}
    }
    described = {(method, path) for method, path, _ in operations(document)}
    assert served - described == UNDESCRIBED
    assert described - served == set()


async def test_the_document_is_openapi_3_1_with_sound_schemas(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    text = json.dumps(document)
    for name in set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text)):
        assert name in document["components"]["schemas"]


async def test_every_operation_says_what_a_caller_must_know(document: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"] and set(operation["tags"]) <= tags, where
        assert operation["x-codeSamples"], where
        assert {"400", "403", "503"} <= operation["responses"].keys(), where
        assert re.findall(r"{(\w+)}", path) == [
            it["name"] for it in operation["parameters"] if it["in"] == "path"
        ], where
        for parameter in operation["parameters"]:
            assert parameter["description"], where
            assert is_bounded(parameter["schema"]), (where, parameter["name"])


def is_bounded(schema: Mapping[str, Any]) -> bool:
    match schema["type"]:
        case "string":
            return "maxLength" in schema or "enum" in schema
        case "integer":
            return "minimum" in schema and "maximum" in schema
        case "array":
            return "maxItems" in schema and is_bounded(schema["items"])
    return True


async def sent(world: World, route: DescribedRoute, example: Example) -> httpx.Response:
    headers = dict(example.headers)
    content = None
    if example.body is not None:
        headers["content-type"] = example.media_type
        content = sent_body(example)
    target = target_of(route, example)
    return await world.client.request(route.method, target, headers=headers, content=content)


async def test_every_example_runs_and_its_answer_is_as_documented(tmp_path: Path) -> None:
    """Each in a world of its own: many of them change it."""
    async with example_world(tmp_path) as world:
        routes = list(described_routes(world.app.routes))
    wrong, count = [], 0
    for route in routes:
        for example in route.operation.examples:
            async with example_world(tmp_path) as world:
                document = openapi(world.app.routes, "0")
                answer = await sent(world, route, example)
                count += 1
                where = f"{route.method} {route.path} {example.name}"
                if answer.status_code != example.status:
                    wrong.append(f"{where}: {answer.status_code} {answer.text[:300]}")
                    continue
                DocumentedAnswers(document).check(
                    route.method,
                    route.path,
                    status=answer.status_code,
                    content_type=answer.headers["content-type"],
                    content=answer.content,
                )
    assert wrong == []
    assert count >= len(routes)
