"""The page of the calls under /v1, out of the descriptions that the routes carry."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from making.page_parts import sentence, table
from trialbus.testkit.gateway_world import gateway_world
from trialbus_gateway.adapters.rest.document import openapi
from trialbus_gateway.adapters.rest.shapes import KATIB_SHAPES

Json = Any
METHODS = ("get", "put", "post", "patch", "delete")
_REFERENCE = "#/components/schemas/"


def http_calls_page() -> str:
    document = asyncio.run(_document())
    parts = []
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    parts.append(_call(method.upper(), path, item[method]))
    parts.append("## Objects\n\nWhat bodies and answers are made of, beside Katib's objects.\n")
    schemas = document["components"]["schemas"]
    parts += [_object(name, schemas[name]) for name in _own(document)]
    return "\n".join(parts)


async def _document() -> Json:
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_world(Path(folder)) as world:
            return openapi(world.app.routes, "")


def _own(document: Json) -> list[str]:
    """Objects of bodies and answers, but Katib's: of those the models tell."""
    found: list[str] = []

    def look(node: Json) -> None:
        for name in _references(node):
            if name not in found and name not in KATIB_SHAPES:
                found.append(name)
                look(document["components"]["schemas"][name])

    for item in document["paths"].values():
        look([[it["responses"], it.get("requestBody")] for it in item.values()])
    return sorted(found)


def _references(node: Json) -> Iterator[str]:
    if isinstance(node, Mapping):
        target = node.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_REFERENCE)
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _references(each)


def _call(method: str, path: str, operation: Json) -> str:
    about = operation.get("description", "")
    lines = [f"### {method} {path}\n\n{sentence(operation['summary'])} {about}".rstrip() + "\n"]
    rows = [
        [f"`{it['name']}`", it["in"], _kind(it["schema"]), it["description"]]
        for it in operation["parameters"]
        if it["in"] != "path"
    ]
    if rows:
        lines.append(table(["parameter", "in", "kind", "meaning"], rows))
    if "requestBody" in operation:
        lines.append(_body(operation["requestBody"]))
    lines.append(_answers(operation["responses"]))
    samples = [f"# {it['label']}\n{it['source']}" for it in operation["x-codeSamples"]]
    lines.append("```sh\n" + "\n".join(samples) + "\n```\n")
    return "\n".join(lines)


def _body(body: Json) -> str:
    kinds = ", ".join(f"`{media}` ({_kind(it['schema'])})" for media, it in body["content"].items())
    return f"Body: {sentence(body['description'])} {kinds}.\n"


def _answers(responses: Json) -> str:
    rows, failures = [], []
    for status, answer in responses.items():
        media_type, content = next(iter(answer["content"].items()))
        kind = _kind(content["schema"])
        if content["schema"].get("$ref", "").endswith("Failure"):
            failures.append(status)
        else:
            shown = kind if media_type == "application/json" else f"`{media_type}`"
            rows.append(f"{status} {shown}: {answer['description']}")
    return " ".join([*map(sentence, rows), f"Failures: {', '.join(failures)}.\n"])


def _object(name: str, schema: Json) -> str:
    rows = [
        [f"`{field}`", _kind(told), told.get("description", "").replace("\n", " ")]
        for field, told in schema.get("properties", {}).items()
    ]
    about = " ".join(schema.get("description", "").split())
    return f"### {name}\n\n{about}\n\n{table(['field', 'kind', 'meaning'], rows)}"


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return f"Katib's {name}" if name in KATIB_SHAPES else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        values: Sequence[Json] = schema.get("enum") or [schema["const"]]
        return ", ".join(f"`{value}`" for value in values) + _default(schema)
    match schema.get("type"):
        case "array":
            return f"list of {_kind(schema['items'])}"
        case "object":
            values_of = schema.get("additionalProperties")
            return f"map of {_kind(values_of)}" if isinstance(values_of, Mapping) else "object"
        case None:
            return "any"
        case kind:
            return f"{kind}{_bounds(schema)}{_default(schema)}"


def _bounds(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" {low:,} to {high:,}"
    if "maxLength" in schema:
        return f" of at most {schema['maxLength']:,} characters"
    return ""


def _default(schema: Json) -> str:
    default = schema.get("default")
    return "" if default is None else f", default `{json.dumps(default).strip(chr(34))}`"
