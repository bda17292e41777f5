"""Addresses of resources, as every API server has them."""

from urllib.parse import quote

from trialbus.ports.cluster import Resource


def group_version_path(api_version: str) -> str:
    """api_version: `v1`, or `group/version`."""
    root = "/apis" if "/" in api_version else "/api"
    return f"{root}/{quote(api_version, safe='/')}"


def resource_path(
    resource: Resource, namespace: str | None, name: str = "", subresource: str = ""
) -> str:
    """namespace None: of all, or of none."""
    parts = [group_version_path(resource.api_version)]
    if resource.namespaced and namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource.plural)
    if name:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def log_path(namespace: str, pod: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
