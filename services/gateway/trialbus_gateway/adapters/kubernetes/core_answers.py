"""Lists, single objects and watches of Kubernetes' own kinds, in the forms that clients want."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trialbus.ports.clock import Clock
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.kubernetes.core_columns import Column
from trialbus_gateway.adapters.kubernetes.selectors import (
    FieldTerm,
    Requirement,
    parse_fields,
    parse_labels,
)
from trialbus_gateway.adapters.kubernetes.status_objects import Target
from trialbus_gateway.adapters.kubernetes.tables import META_GROUP, Form, Included, Shape, form_of

Json = Any
Object = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreKind:
    """fields: what field selectors may ask for."""

    api_version: str
    resource: str
    kind: str
    columns: Sequence[Column]
    fields: Sequence[str] = ("metadata.name", "metadata.namespace")

    def target(self, name: str = "") -> Target:
        group = self.api_version.rpartition("/")[0]
        return Target(resource=self.resource, name=name, group=group, kind=self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which objects a request selects, and in which form."""

    form: Form
    labels: tuple[Requirement, ...]
    fields: tuple[FieldTerm, ...]

    @classmethod
    def of(cls, request: Request, kind: CoreKind) -> "Wanted":
        """Raises StatusFailure, Unreadable."""
        query = request.query_params
        return cls(
            form=form_of(request),
            labels=parse_labels(query.get("labelSelector", "")),
            fields=parse_fields(query.get("fieldSelector", ""), known=kind.fields),
        )

    def fits(self, view: Object) -> bool:
        labels = view["metadata"].get("labels", {})
        return all(it.holds(labels) for it in self.labels) and all(
            (_value(view, it.field) == it.value) is it.equal for it in self.fields
        )

    def one_label(self, *keys: str) -> str | None:
        """The only value that one of these labels can have."""
        for it in self.labels:
            if it.key in keys and it.operator == "in" and len(it.values) == 1:
                return next(iter(it.values))
        return None

    def one_field(self, field: str) -> str | None:
        return next((it.value for it in self.fields if it.field == field and it.equal), None)


class CoreAnswers:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def one(self, kind: CoreKind, view: Object, wanted: Wanted, status: int = 200) -> Response:
        return JsonAnswer(self.shown(kind, view, wanted.form), status_code=status)

    def many(
        self,
        kind: CoreKind,
        views: Sequence[Object],
        wanted: Wanted,
        *,
        version: str,
        following: str | None = None,
    ) -> Response:
        """version: of the list, from which a watch goes on. following: where its next page is."""
        metadata = {"resourceVersion": version}
        if following:
            metadata["continue"] = following
        form, chosen = wanted.form, [view for view in views if wanted.fits(view)]
        if form.shape is Shape.TABLE:
            return JsonAnswer(self._table(kind, chosen, form, metadata))
        api_version, items = kind.api_version, chosen
        list_kind = f"{kind.kind}List"
        if form.shape is Shape.METADATA:
            api_version, list_kind = f"{META_GROUP}/{form.version}", f"{form.shape.value}List"
            items = [_metadata_of(view, form.version) for view in chosen]
        return JsonAnswer(
            {"kind": list_kind, "apiVersion": api_version, "metadata": metadata, "items": items}
        )

    def shown(self, kind: CoreKind, view: Object, form: Form, *, columns: bool = True) -> Object:
        """columns: whether a table defines them; in a watch only the first one does."""
        match form.shape:
            case Shape.OBJECT:
                return view
            case Shape.METADATA:
                return _metadata_of(view, form.version)
            case Shape.TABLE:
                version = str(view["metadata"].get("resourceVersion", ""))
                metadata = {"resourceVersion": version}
                return self._table(kind, [view], form, metadata, columns=columns)

    def _table(
        self,
        kind: CoreKind,
        views: Sequence[Object],
        form: Form,
        metadata: Mapping[str, Json],
        *,
        columns: bool = True,
    ) -> Object:
        now = self._clock.now()
        rows = []
        for view in views:
            row: Object = {"cells": [column.cell(view, now) for column in kind.columns]}
            if form.included is Included.OBJECT:
                row["object"] = view
            elif form.included is Included.METADATA:
                row["object"] = _metadata_of(view, form.version)
            rows.append(row)
        return {
            "kind": "Table",
            "apiVersion": f"{META_GROUP}/{form.version}",
            "metadata": dict(metadata),
            "columnDefinitions": [it.definition for it in kind.columns] if columns else None,
            "rows": rows,
        }


def _value(view: Object, path: str) -> str:
    found: Json = view
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return "" if found is None else str(found)


def _metadata_of(view: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": view["metadata"],
    }
