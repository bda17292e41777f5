"""The OpenAPI 3.1 document, made of the routes."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter
from starlette.routing import BaseRoute, Mount

from trialbus_gateway.adapters.rest.operations import (
    JSON,
    Answer,
    DescribedRoute,
    Example,
    Operation,
)
from trialbus_gateway.adapters.rest.parameters import Parameter
from trialbus_gateway.adapters.rest.shapes import Failure

Json = Any

_REFERENCES = "#/components/schemas/{model}"
FAILURES: Mapping[int, str] = {
    400: "It cannot be read: a name, a number, a body, a query parameter that is not listed here.",
    401: "Who asks has not said who it is, or cannot be believed.",
    403: "A page of another site, or somebody who may not.",
    404: "There is no such object.",
    408: "The body did not come in time.",
    409: "The name belongs to another experiment by now, or somebody was faster.",
    410: "It is gone.",
    413: "The body is too large.",
    415: "A body of this kind is not taken.",
    422: "Refused: every problem at once, each with its field.",
    429: "Too many calls: try again after `Retry-After` seconds.",
    503: "A server is away: try again after `Retry-After` seconds.",
}
TAGS: Mapping[str, str] = {
    "experiments": "Experiments: read, apply, suspend, resume, stop, delete.",
    "trials": "Trials: pages, filters, logs, explanations.",
    "metrics": "What trials reported, raw or thinned out.",
    "series": "Experiments over time, for Grafana: a part of Prometheus' read API.",
    "suggestions": "The points that algorithms drew.",
    "events": "Events in and out, as CloudEvents.",
    "workers": "Processes that ask for trials and tell results.",
    "webhooks": "Events that are sent to an address.",
    "access": "Who may do what.",
    "server": "The gateway itself.",
}
_RETRIED = (429, 503)
_RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "string"}}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "Only where the gateway asks who is calling.",
}
_SHAPE_NAMES = re.compile(r'("\$ref": "#/components/schemas/|"title": ")(\w+)"')
SHELL_ADDRESS = "$TRIALBUS_URL"


def openapi(routes: Iterable[BaseRoute], version: str) -> Json:
    """Of all routes that carry a description."""
    found = list(described_routes(routes))
    shapes = [Failure, *(shape for route in found for shape in _shapes(route.operation))]
    schemas, components = _schemas(shapes)
    paths: dict[str, Json] = {}
    for route in found:
        told = _operation(route, schemas)
        paths.setdefault(route.path, {})[route.method.lower()] = told
    used = {route.operation.tag for route in found}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trialbus",
            "version": version,
            "summary": "Hyperparameter tuning and architecture search, driven by events.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": TAGS[tag]} for tag in [*TAGS] if tag in used],
        "paths": paths,
        "security": [{"bearer": []}, {}],
        "components": {"schemas": components, "securitySchemes": {"bearer": _BEARER}},
    }


def described_routes(routes: Iterable[BaseRoute]) -> Iterator[DescribedRoute]:
    for route in routes:
        if isinstance(route, DescribedRoute):
            yield route
        elif isinstance(route, Mount):
            yield from described_routes(route.routes)


def _shapes(operation: Operation) -> Iterator[Any]:
    yield from (it.shape for it in operation.answers.values() if it.shape is not None)
    if operation.failure_shape is not None:
        yield operation.failure_shape
    if operation.body is not None:
        yield from operation.body.shapes.values()


def _schemas(shapes: Sequence[Any]) -> tuple[dict[int, Json], dict[str, Json]]:
    """By the identity of a shape, its schema, which refers to the components."""
    distinct = {id(shape): shape for shape in shapes}
    made, rest = TypeAdapter.json_schemas(
        [(key, "validation", TypeAdapter(shape)) for key, shape in distinct.items()],
        ref_template=_REFERENCES,
    )
    components = {_plain(name): it for name, it in rest.get("$defs", {}).items()}
    by_shape = {str(key): schema for (key, _), schema in made.items()}
    both: Json = json.loads(_SHAPE_NAMES.sub(_shown, json.dumps([by_shape, components])))
    return {int(key): it for key, it in both[0].items()}, dict(sorted(both[1].items()))


def _plain(name: str) -> str:
    """What callers know nothing of: that a class tells the shape of something."""
    return name.removesuffix("Shape")


def _shown(found: re.Match[str]) -> str:
    return f'{found[1]}{_plain(found[2])}"'


def _operation(route: DescribedRoute, schemas: Mapping[int, Json]) -> Json:
    operation = route.operation
    told: dict[str, Json] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_parameter(it, operation.examples) for it in operation.parameters],
        "responses": _responses(operation, schemas),
        "x-codeSamples": [
            {"lang": "Shell", "label": it.about, "source": curl(route, it)}
            for it in operation.examples
        ],
    }
    if operation.about:
        told["description"] = operation.about
    if operation.body is not None:
        told["requestBody"] = {
            "description": operation.body.about,
            "required": operation.body.required,
            "content": {
                media_type: {
                    "schema": schemas[id(shape)],
                    "examples": _body_examples(operation.examples, media_type),
                }
                for media_type, shape in operation.body.shapes.items()
            },
        }
    return told


def _parameter(parameter: Parameter, examples: Sequence[Example]) -> Json:
    told: dict[str, Json] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": dict(parameter.schema),
    }
    if parameter.place == "path":
        return {**told, "example": parameter.example}
    of_place = [(it, it.query if parameter.place == "query" else it.headers) for it in examples]
    shown = {
        example.name: {"summary": example.about, "value": given[parameter.name]}
        for example, given in of_place
        if parameter.name in given
    }
    return {**told, "examples": shown} if shown else told


def _body_examples(examples: Sequence[Example], media_type: str) -> Json:
    return {
        it.name: {"summary": it.about, "value": it.body}
        for it in examples
        if it.body is not None and it.media_type == media_type
    }


def _responses(operation: Operation, schemas: Mapping[int, Json]) -> Json:
    told = {
        str(status): _answer(answer, schemas)
        for status, answer in sorted(operation.answers.items())
    }
    for status in operation.all_failures:
        failure = Answer(about=FAILURES[status], shape=operation.failure_shape or Failure)
        told[str(status)] = _answer(failure, schemas)
        if status in _RETRIED:
            told[str(status)]["headers"] = {"Retry-After": _RETRY_AFTER}
    return told


def _answer(answer: Answer, schemas: Mapping[int, Json]) -> Json:
    schema = {"type": "string"} if answer.shape is None else schemas[id(answer.shape)]
    return {
        "description": answer.about,
        "content": {answer.media_type: {"schema": schema}},
    }


def target_of(route: DescribedRoute, example: Example) -> str:
    """Path and query of an example's request."""
    path = route.path
    for parameter in route.operation.parameters:
        if parameter.place == "path":
            value = str(example.path.get(parameter.name, parameter.example))
            path = path.replace(f"{{{parameter.name}}}", quote(value, safe=""))
    pairs = [
        (name, _query_text(each))
        for name, value in example.query.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _query_text(value: Json) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def sent_body(example: Example) -> str:
    """A text of another kind than JSON goes as it stands."""
    is_text = isinstance(example.body, str) and example.media_type != JSON
    return str(example.body) if is_text else json.dumps(example.body)


def curl(route: DescribedRoute, example: Example) -> str:
    """The example's request, for a shell."""
    words = ["curl", "-sS"]
    if route.method != "GET":
        words += ["-X", route.method]
    for name, value in example.headers.items():
        words += ["-H", f"{name}: {value}"]
    if example.body is not None:
        words += ["-H", f"content-type: {example.media_type}"]
        words += ["-d", sent_body(example)]
    target = target_of(route, example)
    return f'{shlex.join(words)} "{SHELL_ADDRESS}{target}"'
