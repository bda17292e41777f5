"""A request's address and query as one call."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import yaml
from pydantic_core import from_json
from tests.cluster.double import errors
from tests.cluster.double.objects import Target
from tests.cluster.double.resources import Kind, Registry, Version

Object = dict[str, Any]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """all_namespaces: a namespaced kind without a namespace in its address."""

    verb: str
    kind: Kind
    version: Version
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]

    @property
    def resource(self) -> str:
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def all_namespaces(self) -> bool:
        return self.kind.namespaced and not self.namespace

    def target(self) -> Target:
        return Target(
            kind=self.kind,
            version=self.version,
            namespace=self.namespace,
            name=self.name,
            subresource=self.subresource,
            dry_run="dryRun" in self.query,
            validation=self.query.get("fieldValidation", "Warn"),
            manager=self.query.get("fieldManager", "unknown"),
        )

    def flag(self, name: str) -> bool:
        return self.query.get(name, "") in ("true", "1")


def call_of(registry: Registry, method: str, path: str, query: Mapping[str, str]) -> Call:
    """Raises ApiError: 404 for what is not served, 405 for a method that it has not."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise errors.no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    found = registry.find(group, version, rest[0])
    if found is None or len(rest) > 3:
        raise errors.no_such_path()
    kind, served = found
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if bool(namespace) > kind.namespaced or (kind.namespaced and name and not namespace):
        raise errors.no_such_path()
    if subresource and not _has(kind, served, subresource):
        raise errors.no_such_path()
    verb = _verb(method, name, query)
    wrong_create = verb == "create" and (
        subresource != "eviction" if name else kind.namespaced > bool(namespace)
    )
    if verb not in kind.verbs or wrong_create:
        raise errors.method_not_allowed()
    return Call(
        verb=verb,
        kind=kind,
        version=served,
        namespace=namespace,
        name=name,
        subresource=subresource,
        query=query,
    )


def _has(kind: Kind, version: Version, subresource: str) -> bool:
    if subresource == "finalize":
        return kind.plural == "namespaces"
    return version.status if subresource == "status" else subresource in kind.subresources


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method == "GET":
        if query.get("watch") in ("true", "1"):
            return "watch"
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    verb = _VERBS.get(method, "")
    if not verb or (verb != "create" and not name):
        raise errors.method_not_allowed()
    return verb


def body_of(data: bytes, media_type: str) -> Any:
    """JSON, or YAML where it says so. Raises 400 and 415."""
    if not data:
        return {}
    if "protobuf" in media_type:
        known = "application/json, application/yaml"
        text = f"the body of the request was in an unknown format - accepted media types: {known}"
        raise errors.unsupported_media_type(text)
    try:
        if media_type.endswith("yaml") and data.lstrip()[:1] != b"{":
            return json.loads(json.dumps(yaml.safe_load(data), default=str))
        return from_json(data)
    except (ValueError, yaml.YAMLError) as error:
        raise errors.bad_request(f"error decoding the body: {error}") from error
