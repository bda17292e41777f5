"""The rules of Roles as a Helm template, out of the table of what services do on a cluster."""

import json
from collections.abc import Iterable

from trialbus.contracts.cluster_permissions import (
    PERMISSIONS,
    TRIAL_KINDS,
    ClusterPermission,
    When,
    trial_kind_permission,
)

_CONDITIONS = {
    When.PLACE: "true",
    When.CUSTOM_RESOURCES: ".customResources",
    When.KUBERNETES_AUDIENCE: ".audience",
}


def permissions_template() -> str:
    """Defines `trialbus-lib.rules.<service>` and, of the cluster, `trialbus-lib.clusterRules.
    <service>`, for (customResources, audience, kinds); of no rules nothing."""
    services = sorted({each.service for each in PERMISSIONS})
    parts = []
    for service in services:
        mine = [each for each in PERMISSIONS if each.service == service]
        plain = [each for each in mine if not each.cluster_scope]
        parts.append(_definition(f"rules.{service}", plain))
        parts.append(
            _definition(f"clusterRules.{service}", (it for it in mine if it.cluster_scope))
        )
    return "".join(parts) + _kinds()


def _definition(name: str, permissions: Iterable[ClusterPermission]) -> str:
    body = "".join(_rule(each) for each in permissions)
    return f'{{{{- define "trialbus-lib.{name}" -}}}}\n{body}{{{{- end }}}}\n\n'


def _rule(permission: ClusterPermission) -> str:
    if permission == trial_kind_permission("batch", "jobs"):
        # One of the kinds of trials, which the values list.
        return '{{- include "trialbus-lib.kindRules" .kinds }}\n'
    rule = _rule_text(permission, permission.group, permission.resource)
    condition = _CONDITIONS[permission.when]
    return rule if condition == "true" else f"{{{{- if {condition} }}}}\n{rule}{{{{- end }}}}\n"


def _rule_text(permission: ClusterPermission, group: str, resource: str) -> str:
    return (
        f"# {permission.why}\n"
        f'- apiGroups: ["{group}"]\n'
        f'  resources: ["{resource}"]\n'
        f"  verbs: {json.dumps(list(permission.verbs))}\n"
    )


def _kinds() -> str:
    known = {name: {"group": group, "resource": it} for name, (group, it) in TRIAL_KINDS.items()}
    rule = _rule_text(trial_kind_permission("", ""), "{{ $kind.group }}", "{{ $kind.resource }}")
    return (
        '{{- define "trialbus-lib.kindRules" -}}\n'
        f"{{{{- $known := {json.dumps(json.dumps(known))} | fromJson }}}}\n"
        "{{- range . }}\n"
        '{{- $parts := splitn "." 2 . }}\n'
        '{{- $other := dict "resource" $parts._0 "group" ($parts._1 | default "") }}\n'
        "{{- $kind := get $known . | default $other }}\n"
        f"{rule}"
        "{{- end }}\n"
        "{{- end }}\n"
    )
