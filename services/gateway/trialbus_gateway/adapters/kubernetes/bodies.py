"""Reading what Kubernetes' clients send: JSON or YAML, whatever its Content-Type says."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from trialbus.contracts.yaml_input import check_json, load_document
from trialbus.kernel.errors import Refused
from trialbus_gateway.adapters.bodies import limited, strict_json
from trialbus_gateway.adapters.kubernetes.status_objects import (
    StatusFailure,
    bad_request,
    unsupported_media_type,
)

Json = Any
Object = dict[str, Json]

_BINARY = "application/vnd.kubernetes.protobuf"
_OBJECTS = ("application/json", "application/yaml")
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE, APPLY)


async def object_of(request: Request) -> Object:
    """One object. Raises StatusFailure, TooLarge."""
    if media_type(request) == _BINARY:
        raise unsupported_media_type(_OBJECTS)
    return _object(await limited(request))


async def optional_object_of(request: Request) -> Object:
    """As `object_of`; {} without a body."""
    data = await limited(request)
    return _object(data) if data.strip() else {}


async def patch_of(request: Request) -> tuple[str, Json]:
    """Its kind, one of PATCHES, and what it says. Raises StatusFailure, TooLarge.

    A list is a JSON patch whatever its type: the Python client sends it as a merge patch.
    """
    kind = media_type(request)
    if kind in ("", "application/json"):
        kind = MERGE
    if kind not in PATCHES:
        raise unsupported_media_type(PATCHES)
    data = await limited(request)
    if kind == APPLY:
        return kind, _object(data)
    try:
        patch = strict_json(data)
        check_json(patch)
    except Refused as error:
        raise _unreadable(error) from error
    if isinstance(patch, list):
        return JSON_PATCH, patch
    if kind == JSON_PATCH:
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch is an object")
    return kind, patch


def media_type(request: Request) -> str:
    """Without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def metadata_of(obj: Mapping[str, Json]) -> Object:
    """A copy, {} where there is none. Raises StatusFailure."""
    metadata = obj.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise bad_request("metadata: an object is needed")
    return dict(metadata)


def _object(data: bytes) -> Object:
    try:
        return load_document(data)
    except Refused as error:
        raise _unreadable(error) from error


def _unreadable(error: Refused) -> StatusFailure:
    return bad_request(f"the object provided is unrecognized: {error}")
