"""The custom resource definitions of Katib's kinds, for a cluster."""

from typing import Any

from trialbus.contracts.katib.models import API_GROUP, API_GROUP_VERSION
from trialbus.contracts.katib.schemas import CATEGORIES, Kind, structural_schema

Json = Any


def custom_resource_definition(kind: Kind) -> dict[str, Json]:
    """As `kubectl apply` takes it (`apiextensions.k8s.io/v1`)."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": kind.list_name,
                "plural": kind.plural,
                "singular": kind.singular,
                "categories": list(CATEGORIES),
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> dict[str, Json]:
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.json_path,
            "description": column.description,
        }
        for column in kind.columns
    ]
    return {
        "name": API_GROUP_VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": structural_schema(kind)},
    }
