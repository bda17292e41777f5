"""The schemas of what all Kubernetes APIs share (`meta.v1`), under their Kubernetes names."""

from collections.abc import Mapping
from typing import Any

Json = Any
Schema = dict[str, Json]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
RAW_EXTENSION = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_REF = "#/components/schemas/"


def reference(name: str, description: str = "") -> Schema:
    """A reference to the schema of this name; with a description as Kubernetes writes it."""
    target = {"$ref": f"{_REF}{name}"}
    return {"description": description, "allOf": [target]} if description else target


def text(description: str, **more: Json) -> Schema:
    return {"description": description, "type": "string", **more}


def number(description: str, bits: int = 64) -> Schema:
    return {"description": description, "type": "integer", "format": f"int{bits}"}


def truth(description: str) -> Schema:
    return {"description": description, "type": "boolean"}


def listed(description: str, items: Schema) -> Schema:
    return {"description": description, "type": "array", "items": items}


def text_map(description: str) -> Schema:
    values = {"type": "string"}
    return {"description": description, "type": "object", "additionalProperties": values}


def an_object(
    description: str, properties: Mapping[str, Schema], required: tuple[str, ...] = ()
) -> Schema:
    """An object with these fields."""
    schema: Schema = {"description": description, "type": "object"}
    if required:
        schema["required"] = list(required)
    return schema | {"properties": dict(properties)}


def type_fields() -> dict[str, Schema]:
    """What every object says of itself."""
    return {
        "apiVersion": text("The group and version of this object."),
        "kind": text("What this object is."),
    }


def _time(description: str) -> Schema:
    return reference(f"{META}Time", description)


def _object_meta() -> Schema:
    owners = listed("The objects that this one depends on.", reference(f"{META}OwnerReference"))
    managers = listed(
        "Who set which fields: for server-side apply.", reference(f"{META}ManagedFieldsEntry")
    )
    return an_object(
        "What every stored object has: its name, labels, annotations and versions.",
        {
            "annotations": text_map("Texts that programs keep with the object."),
            "creationTimestamp": _time("When the object was made. Set by the server."),
            "deletionGracePeriodSeconds": number("How long the object may take to end."),
            "deletionTimestamp": _time("When the object was deleted; it ends soon."),
            "finalizers": listed("What must be done before the object is gone.", {"type": "string"})
            | {"x-kubernetes-list-type": "set"},
            "generateName": text("The beginning of a name that the server completes."),
            "generation": number("Counts the changes of the spec. Set by the server."),
            "labels": text_map("Names and values by which objects are chosen."),
            "managedFields": managers | {"x-kubernetes-list-type": "atomic"},
            "name": text("The object's name, unique in its namespace among its kind."),
            "namespace": text("The namespace that the object is in."),
            "ownerReferences": owners
            | {"x-kubernetes-list-map-keys": ["uid"], "x-kubernetes-list-type": "map"},
            "resourceVersion": text("The version of the object, to be sent back as it is."),
            "selfLink": text("Not used any more."),
            "uid": text("Tells objects of the same name apart. Set by the server."),
        },
    )


def _owner_reference() -> Schema:
    return an_object(
        "An object that another one depends on.",
        {
            "apiVersion": text("The owner's group and version."),
            "blockOwnerDeletion": truth("Whether the owner stays until this object is gone."),
            "controller": truth("Whether the owner manages this object."),
            "kind": text("The owner's kind."),
            "name": text("The owner's name."),
            "uid": text("The owner's uid."),
        },
        ("apiVersion", "kind", "name", "uid"),
    ) | {"x-kubernetes-map-type": "atomic"}


def _managed_fields_entry() -> Schema:
    return an_object(
        "The fields that one manager set.",
        {
            "apiVersion": text("The version of the object that the fields are of."),
            "fieldsType": text("The form of fieldsV1: FieldsV1."),
            "fieldsV1": reference(f"{META}FieldsV1", "The fields."),
            "manager": text("Who set them."),
            "operation": text("How: Apply or Update."),
            "subresource": text("The part of the object, such as status."),
            "time": _time("When."),
        },
    )


def _list_meta() -> Schema:
    return an_object(
        "What every list has.",
        {
            "continue": text("Given back, it asks for the next page."),
            "remainingItemCount": number("How many more objects there are after this page."),
            "resourceVersion": text("The version of the list, from which a watch may go on."),
            "selfLink": text("Not used any more."),
        },
    )


def _delete_options() -> Schema:
    preconditions = reference(f"{META}Preconditions", "What must be so for the object to be gone.")
    return an_object(
        "How an object is deleted.",
        {
            **type_fields(),
            "dryRun": listed("All: check, and change nothing.", {"type": "string"})
            | {"x-kubernetes-list-type": "atomic"},
            "gracePeriodSeconds": number("How long the object may take to end."),
            "ignoreStoreReadErrorWithClusterBreakingPotential": truth("Not used here."),
            "orphanDependents": truth("Not used any more: propagationPolicy is."),
            "preconditions": preconditions,
            "propagationPolicy": text("Orphan, Background or Foreground."),
        },
    )


def _status() -> Schema:
    return an_object(
        "The answer to what gives no object, and to what went wrong.",
        {
            **type_fields(),
            "code": number("The HTTP status.", 32),
            "details": reference(f"{META}StatusDetails", "More about the reason."),
            "message": text("What happened, in a sentence."),
            "metadata": reference(f"{META}ListMeta", "Empty."),
            "reason": text("What happened, in one word, such as NotFound or Conflict."),
            "status": text("Success or Failure."),
        },
    )


def _status_parts() -> dict[str, Schema]:
    cause = {
        "field": text("The path of the field, such as spec.parallelTrialCount."),
        "message": text("What is wrong with it."),
        "reason": text("The same in one word, such as FieldValueInvalid."),
    }
    causes = listed("Every problem.", reference(f"{META}StatusCause"))
    details = {
        "causes": causes | {"x-kubernetes-list-type": "atomic"},
        "group": text("The group of the object."),
        "kind": text("The object's kind."),
        "name": text("The object's name."),
        "retryAfterSeconds": number("When it is worth to try again.", 32),
        "uid": text("The object's uid."),
    }
    return {
        f"{META}StatusCause": an_object("One problem.", cause),
        f"{META}StatusDetails": an_object("What the answer is about.", details),
    }


def _table() -> dict[str, Schema]:
    column = {
        "description": text("What the column shows."),
        "format": text("A closer type, such as name."),
        "name": text("The head of the column."),
        "priority": number("0: always shown; more: in wide tables only.", 32),
        "type": text("string, integer, number, boolean or date."),
    }
    row = {
        "cells": listed("A value for each column.", {"description": "Any value."}),
        "object": reference(RAW_EXTENSION, "The object that the row shows, or its metadata."),
    }
    table = {
        **type_fields(),
        "columnDefinitions": listed("The columns.", reference(f"{META}TableColumnDefinition")),
        "metadata": reference(f"{META}ListMeta", "Of the list."),
        "rows": listed("The rows.", reference(f"{META}TableRow")),
    }
    needed = ("name", "type", "format", "description", "priority")
    return {
        f"{META}Table": an_object("Objects as a table.", table, ("columnDefinitions", "rows")),
        f"{META}TableColumnDefinition": an_object("A column of a table.", column, needed),
        f"{META}TableRow": an_object("A row of a table.", row, ("cells",)),
    }


def _discovery() -> dict[str, Schema]:
    names = {"type": "string"}
    resource = {
        "categories": listed("Groups such as all, which stand for many resources.", names),
        "group": text("The group, if it is another one."),
        "kind": text("The kind of its objects."),
        "name": text("The plural name."),
        "namespaced": truth("Whether its objects are in namespaces."),
        "shortNames": listed("Short names.", names),
        "singularName": text("The singular name."),
        "storageVersionHash": text("Changes with the stored form."),
        "verbs": listed("What can be done with it.", names),
        "version": text("The version, if it is another one."),
    }
    needed = ("name", "singularName", "namespaced", "kind", "verbs")
    resources = {
        **type_fields(),
        "groupVersion": text("The group and version."),
        "resources": listed("The resources.", reference(f"{META}APIResource")),
    }
    about = "The resources of a group and version."
    return {
        f"{META}APIResource": an_object("A resource.", resource, needed),
        f"{META}APIResourceList": an_object(about, resources, ("groupVersion", "resources")),
    }


def _events() -> Schema:
    return an_object(
        "A change of a watched object.",
        {
            "object": reference(RAW_EXTENSION, "The object as it is now, or was when deleted."),
            "type": text("ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."),
        },
        ("type", "object"),
    )


def meta_schemas() -> dict[str, Schema]:
    """Name -> schema."""
    conditions = {
        "resourceVersion": text("The version that the object must have."),
        "uid": text("The uid that the object must have."),
    }
    free: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        RAW_EXTENSION: {"description": "Any object.", **free},
        f"{META}DeleteOptions": _delete_options(),
        f"{META}FieldsV1": {"description": "A tree of field names.", **free},
        f"{META}ListMeta": _list_meta(),
        f"{META}ManagedFieldsEntry": _managed_fields_entry(),
        f"{META}ObjectMeta": _object_meta(),
        f"{META}OwnerReference": _owner_reference(),
        f"{META}Patch": {"description": "The fields to change.", "type": "object"},
        f"{META}Preconditions": an_object("What must be so before a deletion.", conditions),
        f"{META}Status": _status(),
        f"{META}Time": text("A time in RFC 3339.", format="date-time"),
        f"{META}WatchEvent": _events(),
        **_status_parts(),
        **_table(),
        **_discovery(),
    }
