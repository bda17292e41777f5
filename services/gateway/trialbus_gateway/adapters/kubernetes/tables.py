"""The forms that an answer can have: the objects, a table of them, or only their metadata."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from starlette.requests import Request

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.schemas import EXPERIMENT, SUGGESTION, TRIAL, Column
from trialbus.contracts.katib.schemas import Kind as Schema
from trialbus_gateway.adapters.kubernetes.core_columns import age_text
from trialbus_gateway.adapters.kubernetes.status_objects import not_acceptable
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.core.change_log import Kind, Object

META_GROUP = "meta.k8s.io"
_META_VERSIONS = ("v1", "v1beta1")
_JSON = ("application/json", "application/*", "*/*")

Json = Any


class Shape(StrEnum):
    """METADATA: metav1.PartialObjectMetadata."""

    OBJECT = "Object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


class Included(StrEnum):
    """What of its object a table's row holds."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


SCHEMAS: Mapping[Kind, Schema] = {
    Kind.EXPERIMENTS: EXPERIMENT,
    Kind.SUGGESTIONS: SUGGESTION,
    Kind.TRIALS: TRIAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """version: of the table or the metadata. clock: ages are as of now, in seconds."""

    shape: Shape
    version: str = "v1"
    included: Included = Included.METADATA
    clock: Callable[[], float] = time.time

    @property
    def whole(self) -> bool:
        """Whether all of an object is shown."""
        return self.shape is Shape.OBJECT or (
            self.shape is Shape.TABLE and self.included is Included.OBJECT
        )


def form_of(request: Request) -> Form:
    """As the Accept header and `includeObject` say. Raises StatusFailure 406, Unreadable."""
    shape, version = negotiate(request.headers.get("accept", ""))
    included = request.query_params.get("includeObject") or Included.METADATA
    if included not in tuple(Included):
        raise Unreadable(f"includeObject: unrecognized value: {included[:100]!r}")
    return Form(shape=shape, version=version, included=Included(included))


def negotiate(accept: str) -> tuple[Shape, str]:
    """The first form that is wanted and can be had, and its version. Raises StatusFailure 406."""
    for clause in accept.split(",") if accept.strip() else ["*/*"]:
        media, *parameters = (piece.strip() for piece in clause.split(";"))
        wanted = dict(it.split("=", 1) for it in parameters if "=" in it)
        if media.lower() not in _JSON:
            continue
        as_, version = wanted.get("as"), wanted.get("v", "")
        if as_ is None:
            return Shape.OBJECT, ""
        shapes = {"Table": Shape.TABLE, "PartialObjectMetadata": Shape.METADATA}
        # A list of metadata is asked for by its own name.
        shape = shapes.get(as_.removesuffix("List"))
        if shape and version in _META_VERSIONS and wanted.get("g") == META_GROUP:
            return shape, version
    raise not_acceptable(["application/json"])


def shown(schema: Schema, view: Object, form: Form, *, columns: bool = True) -> Object:
    """One object. columns: whether a table defines its columns, None of them in later events of
    a watch."""
    match form.shape:
        case Shape.OBJECT:
            return view
        case Shape.METADATA:
            return _metadata_of(view, form.version)
        case Shape.TABLE:
            version = str(view["metadata"].get("resourceVersion", ""))
            return table(schema, [view], form, {"resourceVersion": version}, columns=columns)


def shown_list(
    schema: Schema, views: Sequence[Object], form: Form, metadata: Mapping[str, Json]
) -> Object:
    """metadata: resourceVersion, and continue if there is more."""
    if form.shape is Shape.TABLE:
        return table(schema, views, form, metadata)
    if form.shape is Shape.METADATA:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"{META_GROUP}/{form.version}",
            "metadata": dict(metadata),
            "items": [_metadata_of(view, form.version) for view in views],
        }
    return {
        "kind": schema.list_name,
        "apiVersion": API_VERSION,
        "metadata": dict(metadata),
        "items": list(views),
    }


def table(
    schema: Schema,
    views: Sequence[Object],
    form: Form,
    metadata: Mapping[str, Json],
    *,
    columns: bool = True,
) -> Object:
    return {
        "kind": "Table",
        "apiVersion": f"{META_GROUP}/{form.version}",
        "metadata": dict(metadata),
        "columnDefinitions": _definitions(schema) if columns else None,
        "rows": [_row(schema, view, form) for view in views],
    }


def cell(view: Object, path: str) -> Json:
    """What a column's path finds: names after dots, and `[-1:]` for the last of a list."""
    found: Json = view
    for name in path.lstrip(".").split("."):
        last = name.endswith("[-1:]")
        found = found.get(name.removesuffix("[-1:]")) if isinstance(found, Mapping) else None
        if last:
            found = found[-1] if isinstance(found, Sequence) and found else None
    return found


def _definitions(schema: Schema) -> list[Object]:
    name = {
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name, unique in its namespace.",
        "priority": 0,
    }
    return [name] + [
        {
            "name": column.name,
            "type": column.type,
            "format": "",
            "description": column.description,
            "priority": 0,
        }
        for column in schema.columns
    ]


def _row(schema: Schema, view: Object, form: Form) -> Object:
    now = form.clock()
    cells = [_shown_cell(column, cell(view, column.json_path), now) for column in schema.columns]
    row: Object = {"cells": [view["metadata"]["name"], *cells]}
    if form.included is Included.OBJECT:
        row["object"] = view
    elif form.included is Included.METADATA:
        row["object"] = _metadata_of(view, form.version)
    return row


def _shown_cell(column: Column, found: Json, now: float) -> Json:
    """As the API server shows it: a time by how long ago it was, a number as text."""
    if found is None:
        return None
    if column.type == "date":
        return age_text(now - datetime.fromisoformat(str(found)).timestamp())
    return str(found)


def _metadata_of(view: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": view["metadata"],
    }
