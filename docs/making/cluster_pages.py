"""What the services may do on a cluster, as a page: out of the table that the Roles follow."""

from making.page_parts import sentence, table
from trialbus.contracts.cluster_permissions import (
    PERMISSIONS,
    TRIAL_KINDS,
    ClusterPermission,
    When,
    trial_kind_permission,
)

_WHEN = {
    When.PLACE: "`TRIALBUS_PLACE` is `kubernetes`",
    When.CUSTOM_RESOURCES: "`TRIALBUS_CUSTOM_RESOURCES`",
    When.KUBERNETES_AUDIENCE: "`TRIALBUS_KUBERNETES_AUDIENCE`",
}


def cluster_permissions_page() -> str:
    heads = ["service", "resource", "verbs", "what for", "only with"]
    kinds = [
        [name, _resource(trial_kind_permission(*where))] for name, where in TRIAL_KINDS.items()
    ]
    verbs = _verbs(trial_kind_permission("", ""))
    return (
        table(heads, [_row(each) for each in PERMISSIONS])
        + "\n## Kinds of trials\n\n"
        + f"The trial launcher needs the same verbs of each kind that trials may be: {verbs}. Jobs "
        + "are always among them; an installation names the others, any kind of any group.\n\n"
        + table(["kind", "resource"], kinds)
    )


def _row(each: ClusterPermission) -> list[str]:
    where = " (cluster)" if each.cluster_scope else ""
    name = f"`{each.service}`"
    return [name, _resource(each) + where, _verbs(each), sentence(each.why), _WHEN[each.when]]


def _resource(each: ClusterPermission) -> str:
    return f"`{each.resource}`" + (f" of `{each.group}`" if each.group else "")


def _verbs(each: ClusterPermission) -> str:
    return ", ".join(each.verbs)
