"""The paths of one kind in the Kubernetes-style API, and what can be done there."""

from collections.abc import Iterable
from typing import Any

from trialbus.contracts.katib.models import API_GROUP, API_GROUP_VERSION
from trialbus.contracts.katib.openapi_meta import META, reference
from trialbus.contracts.katib.schemas import Kind

Json = Any
Operation = dict[str, Json]

ROOT = f"/apis/{API_GROUP}/{API_GROUP_VERSION}"
JSON = "application/json"
YAML = "application/yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# Another representation of what is read, chosen by the Accept header.
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
WATCH = "application/json;stream=watch"

_ID = "KubeflowOrgV1beta1"
_TAG = "kubeflowOrg_v1beta1"
_FAILURES = {
    "400": "The request is not understood.",
    "403": "This is not for users to change.",
    "404": "There is no such object, or no such namespace.",
    "405": "This cannot be done here.",
    "406": "None of the accepted forms is known.",
    "409": "There is such an object already, or the object has changed meanwhile.",
    "410": "The version is too old to go on from.",
    "413": "The request is too large.",
    "415": "The form of the body is not known.",
    "422": "The object breaks the rules; `details.causes` names every field.",
    "500": "Something went wrong inside.",
    "503": "The store or the bus is away; try again.",
    "504": "A part did not answer in time; try again.",
}


def schema_name(kind: str) -> str:
    """`Experiment` -> `org.kubeflow.v1beta1.Experiment`, as Kubernetes names custom resources."""
    reversed_group = ".".join(reversed(API_GROUP.split(".")))
    return f"{reversed_group}.{API_GROUP_VERSION}.{kind}"


def group_version_kind(kind: str) -> dict[str, str]:
    return {"group": API_GROUP, "version": API_GROUP_VERSION, "kind": kind}


def paths_of(kind: Kind) -> dict[str, Json]:
    """Path -> operations: of all namespaces, of one, of an object and of its status."""
    in_one = f"{ROOT}/namespaces/{{namespace}}/{kind.plural}"
    one = f"{in_one}/{{name}}"
    name = _path_parameter("name", f"The name of the {kind.name}.")
    namespace = _path_parameter("namespace", "The namespace.")
    return {
        f"{ROOT}/{kind.plural}": {"get": _list(kind, everywhere=True)},
        in_one: {
            "get": _list(kind, everywhere=False),
            "post": _create(kind),
            "delete": _delete_all(kind),
            "parameters": [namespace],
        },
        one: {
            "get": _read(kind),
            "put": _replace(kind),
            "delete": _delete(kind),
            "patch": _patch(kind),
            "parameters": [name, namespace],
        },
        f"{one}/status": {
            "get": _read(kind, "Status"),
            "put": _replace(kind, "Status"),
            "patch": _patch(kind, "Status"),
            "parameters": [name, namespace],
        },
    }


def discovery_path() -> dict[str, Json]:
    """What resources the group and version has."""
    answer = {"200": _answer("The resources.", {JSON: reference(f"{META}APIResourceList")})}
    return {
        ROOT: {
            "get": {
                "tags": [_TAG],
                "description": "get available resources",
                "operationId": f"get{_ID}APIResources",
                "responses": answer,
            }
        }
    }


def _list(kind: Kind, *, everywhere: bool) -> Operation:
    where = f"{kind.name}ForAllNamespaces" if everywhere else f"Namespaced{kind.name}"
    return _operation(
        kind,
        "list",
        f"list{_ID}{where}",
        f"list or watch {kind.plural}",
        _LISTING,
        {"200": _answer("OK", _list_forms(kind))},
    )


def _list_forms(kind: Kind) -> dict[str, Json]:
    return {
        JSON: reference(schema_name(kind.list_name)),
        TABLE: reference(f"{META}Table"),
        WATCH: reference(f"{META}WatchEvent"),
    }


def _create(kind: Kind) -> Operation:
    return _operation(
        kind,
        "post",
        f"create{_ID}Namespaced{kind.name}",
        f"make one {kind.name}",
        _WRITING,
        {code: _object_answer(kind, text) for code, text in _WRITTEN.items()},
    ) | _body(reference(schema_name(kind.name)), (JSON, YAML))


def _read(kind: Kind, part: str = "") -> Operation:
    forms = {JSON: reference(schema_name(kind.name)), TABLE: reference(f"{META}Table")}
    return _operation(
        kind,
        "get",
        f"read{_ID}Namespaced{kind.name}{part}",
        f"read {_what(kind, part)}",
        [_query("resourceVersion", "string", "The oldest version that will do.")],
        {"200": _answer("OK", forms)},
    )


def _replace(kind: Kind, part: str = "") -> Operation:
    answers = {code: _object_answer(kind, _WRITTEN[code]) for code in ("200", "201")}
    return _operation(
        kind,
        "put",
        f"replace{_ID}Namespaced{kind.name}{part}",
        f"replace {_what(kind, part)}",
        _WRITING,
        answers,
    ) | _body(reference(schema_name(kind.name)), (JSON, YAML))


def _patch(kind: Kind, part: str = "") -> Operation:
    force = _query("force", "boolean", "Take fields over from other managers. For apply patches.")
    answers = {code: _object_answer(kind, _WRITTEN[code]) for code in ("200", "201")}
    body = _body(reference(f"{META}Patch"), (MERGE_PATCH, APPLY_PATCH))
    body["requestBody"]["content"][JSON_PATCH] = {"schema": _JSON_PATCH_SCHEMA}
    return body | _operation(
        kind,
        "patch",
        f"patch{_ID}Namespaced{kind.name}{part}",
        f"change some fields of {_what(kind, part)}",
        [*_WRITING, force],
        answers,
    )


def _delete(kind: Kind) -> Operation:
    answers = {
        code: _answer(text, {JSON: reference(f"{META}Status")})
        for code, text in {"200": "OK", "202": "Accepted: it ends soon."}.items()
    }
    return _delete_options() | _operation(
        kind,
        "delete",
        f"delete{_ID}Namespaced{kind.name}",
        f"delete one {kind.name}",
        _DELETING,
        answers,
    )


def _delete_all(kind: Kind) -> Operation:
    gone = _answer("Those that were deleted.", {JSON: reference(schema_name(kind.list_name))})
    return _delete_options() | _operation(
        kind,
        "deletecollection",
        f"delete{_ID}CollectionNamespaced{kind.name}",
        f"delete the {kind.plural} that the selectors fit",
        [*_DELETING, *_SELECTORS],
        {"200": gone},
    )


def _delete_options() -> Operation:
    body = _body(reference(f"{META}DeleteOptions"), (JSON, YAML))
    del body["requestBody"]["required"]
    return body


def _what(kind: Kind, part: str) -> str:
    return f"{part.lower()} of one {kind.name}" if part else f"one {kind.name}"


def _operation(
    kind: Kind,
    action: str,
    identity: str,
    description: str,
    parameters: Iterable[Json],
    answers: dict[str, Json],
) -> Operation:
    failures = {
        code: _answer(text, {JSON: reference(f"{META}Status")}) for code, text in _FAILURES.items()
    }
    return {
        "tags": [_TAG],
        "description": description,
        "operationId": identity,
        "parameters": list(parameters),
        "responses": answers | failures,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": group_version_kind(kind.name),
    }


def _object_answer(kind: Kind, text: str) -> Json:
    return _answer(text, {JSON: reference(schema_name(kind.name))})


def _answer(text: str, forms: dict[str, Json]) -> Json:
    content = {media: {"schema": schema} for media, schema in forms.items()}
    return {"description": text, "content": content}


def _body(schema: Json, media: Iterable[str]) -> Operation:
    content = {form: {"schema": schema} for form in media}
    return {"requestBody": {"content": content, "required": True}}


def _path_parameter(name: str, description: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "description": description,
        "required": True,
        "schema": {"type": "string"},
    }


def _query(name: str, type_: str, description: str) -> Json:
    schema = {"type": type_}
    return {"name": name, "in": "query", "description": description, "schema": schema}


_JSON_PATCH_SCHEMA: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
    },
}
_WRITTEN = {"200": "OK", "201": "Created", "202": "Accepted"}
_DRY_RUN = _query("dryRun", "string", "All: check, answer, and change nothing.")
_WRITING = (
    _DRY_RUN,
    _query("fieldManager", "string", "Who makes the change."),
    _query("fieldValidation", "string", "Unknown fields: Ignore, Warn or Strict."),
)
_DELETING = (
    _DRY_RUN,
    _query("gracePeriodSeconds", "integer", "How long the object may take to end."),
    _query("orphanDependents", "boolean", "Not used any more: propagationPolicy is."),
    _query("propagationPolicy", "string", "Orphan, Background or Foreground."),
)
_SELECTORS = (
    _query("fieldSelector", "string", "Only objects with these fields, such as metadata.name=a."),
    _query("labelSelector", "string", "Only objects with these labels, such as a=b."),
)
_LISTING = (
    *_SELECTORS,
    _query("allowWatchBookmarks", "boolean", "Whether a watch may tell versions without change."),
    _query("continue", "string", "From an earlier page: go on there."),
    _query("limit", "integer", "How many objects a page has at most."),
    _query("resourceVersion", "string", "Where a watch goes on from."),
    _query("resourceVersionMatch", "string", "Exact or NotOlderThan."),
    _query("sendInitialEvents", "boolean", "Whether a watch begins with all objects."),
    _query("timeoutSeconds", "integer", "How long a watch may last."),
    _query("watch", "boolean", "Send changes as they happen."),
)
