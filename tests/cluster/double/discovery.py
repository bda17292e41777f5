"""What the server says it serves: /version, /api, /apis and the OpenAPI that kubectl looks into."""

import hashlib
from typing import Any

from pydantic_core import to_json
from tests.cluster.double import errors
from tests.cluster.double.resources import Kind, Registry

Object = dict[str, Any]
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "go1.25.0",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def discovered(registry: Registry, path: str, accept: str) -> tuple[Object, str] | None:
    """The answer and its media type; None: not a path of discovery."""
    parts = path.strip("/").split("/")
    aggregated = "v=v2;" in f"{accept.replace(' ', '').replace(',', ';')};"
    if path in ("/api", "/api/") or path in ("/apis", "/apis/"):
        if aggregated and "APIGroupDiscoveryList" in accept:
            return _aggregated(registry, core=parts[0] == "api"), _AGGREGATED
        return (_core() if parts[0] == "api" else _groups(registry)), "application/json"
    if parts[0] == "apis" and len(parts) == 2:
        found = registry.group_versions().get(parts[1])
        if found is None:
            raise errors.no_such_path()
        return {
            "kind": "APIGroup",
            "apiVersion": "v1",
            **_group(parts[1], found),
        }, "application/json"
    if parts[0] == "api" and len(parts) == 2:
        return _resources(registry, "", parts[1]), "application/json"
    if parts[0] == "apis" and len(parts) == 3:
        return _resources(registry, parts[1], parts[2]), "application/json"
    if path == "/openapi/v3":
        return _openapi_index(registry), "application/json"
    if path.startswith("/openapi/v3/"):
        return _openapi(registry, parts[2:]), "application/json"
    return None


def _core() -> Object:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str, versions: list[str]) -> Object:
    told = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def _groups(registry: Registry) -> Object:
    groups = [_group(n, versions) for n, versions in registry.group_versions().items() if n]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _resources(registry: Registry, group: str, version: str) -> Object:
    kinds = list(registry.of_version(group, version))
    if not kinds:
        raise errors.no_such_path()
    listed = []
    for kind in kinds:
        listed.append(_resource(kind))
        for sub in _subresources(kind, version):
            listed.append(
                {
                    "name": f"{kind.plural}/{sub}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": kind.kind,
                    "verbs": _subresource_verbs(sub),
                }
            )
    name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": name,
        "resources": listed,
    }


def _subresources(kind: Kind, version: str) -> list[str]:
    served = kind.versions[version].status
    return [sub for sub in sorted(kind.subresources) if sub != "status" or served]


def _subresource_verbs(sub: str) -> list[str]:
    known = {"log": ["get"], "eviction": ["create"]}
    return known.get(sub, ["get", "patch", "update"])


def _resource(kind: Kind) -> Object:
    told: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        told["shortNames"] = list(kind.short)
    if kind.categories:
        told["categories"] = list(kind.categories)
    return told


def _aggregated(registry: Registry, *, core: bool) -> Object:
    items = []
    for group, versions in registry.group_versions().items():
        if core != (group == ""):
            continue
        told = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [
                    _aggregated_resource(kind, version)
                    for kind in registry.of_version(group, version)
                ],
            }
            for version in versions
        ]
        meta: Object = {"name": group} if group else {}
        meta["creationTimestamp"] = None
        items.append({"metadata": meta, "versions": told})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(kind: Kind, version: str) -> Object:
    gvk = {"group": kind.group, "version": version, "kind": kind.kind}
    told: Object = {
        "resource": kind.plural,
        "responseKind": gvk,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        told["shortNames"] = list(kind.short)
    if kind.categories:
        told["categories"] = list(kind.categories)
    told["subresources"] = [
        {"subresource": sub, "responseKind": gvk, "verbs": _subresource_verbs(sub)}
        for sub in _subresources(kind, version)
    ]
    return told


def _openapi_index(registry: Registry) -> Object:
    paths = {}
    for group, versions in registry.group_versions().items():
        for version in versions:
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            document = to_json(_openapi(registry, place.split("/")))
            digest = hashlib.sha256(document).hexdigest()[:32].upper()
            paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return {"paths": paths}


def _openapi(registry: Registry, parts: list[str]) -> Object:
    """What kubectl needs: that a patch takes fieldValidation, and the schemas of custom kinds."""
    group, version = (parts[1], parts[2]) if parts[0] == "apis" else ("", parts[1])
    kinds = list(registry.of_version(group, version))
    if not kinds:
        raise errors.no_such_path()
    paths, schemas = {}, {}
    for kind in kinds:
        gvk = {"group": group, "version": version, "kind": kind.kind}
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        query = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
        patch = {"x-kubernetes-group-version-kind": gvk, "parameters": [query]}
        paths[f"/{'/'.join(parts)}{scope}/{kind.plural}/{{name}}"] = {"patch": patch}
        schema = kind.versions[version].schema or {"type": "object"}
        name = f"{group or 'core'}.{version}.{kind.kind}"
        schemas[name] = {**schema, "x-kubernetes-group-version-kind": [gvk]}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }
