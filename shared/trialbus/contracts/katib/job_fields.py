"""The fields that a batch/v1 Job may have (Kubernetes 1.35): Katib refuses misspelt ones (rule 35).

Only the levels that people write by hand; below them everything is taken as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trialbus.contracts.katib.shape import did_you_mean

Json = Any

_OBJECT = ("apiVersion", "kind", "metadata", "spec", "status")
_JOB = (
    "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex", "completionMode",
    "completions", "managedBy", "manualSelector", "maxFailedIndexes", "parallelism",
    "podFailurePolicy", "podReplacementPolicy", "selector", "successPolicy", "suspend",
    "template", "ttlSecondsAfterFinished",
)  # fmt: skip
_POD_TEMPLATE = ("metadata", "spec")
_POD = (
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers",
    "dnsConfig", "dnsPolicy", "enableServiceLinks", "ephemeralContainers", "hostAliases",
    "hostIPC", "hostNetwork", "hostPID", "hostUsers", "hostname", "hostnameOverride",
    "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os", "overhead",
    "preemptionPolicy", "priority", "priorityClassName", "readinessGates", "resourceClaims",
    "resources", "restartPolicy", "runtimeClassName", "schedulerName", "schedulingGates",
    "securityContext", "serviceAccount", "serviceAccountName", "setHostnameAsFQDN",
    "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "tolerations",
    "topologySpreadConstraints", "volumes", "workloadRef",
)  # fmt: skip
_CONTAINER = (
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle",
    "livenessProbe", "name", "ports", "readinessProbe", "resizePolicy", "resources",
    "restartPolicy", "restartPolicyRules", "securityContext", "startupProbe", "stdin",
    "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty",
    "volumeDevices", "volumeMounts", "workingDir",
)  # fmt: skip
_VARIABLE = ("name", "value", "valueFrom")


def unknown_job_fields(job: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Misspelt fields: (path below the Job, message)."""
    spec = _mapping(job, "spec")
    template = _mapping(spec, "template")
    pod = _mapping(template, "spec")
    yield from _unknown(job, _OBJECT, "")
    yield from _unknown(spec, _JOB, ".spec")
    yield from _unknown(template, _POD_TEMPLATE, ".spec.template")
    yield from _unknown(pod, _POD, ".spec.template.spec")
    for kind in ("containers", "initContainers"):
        for i, container in enumerate(_mappings(pod, kind)):
            where = f".spec.template.spec.{kind}[{i}]"
            yield from _unknown(container, _CONTAINER, where)
            for j, variable in enumerate(_mappings(container, "env")):
                yield from _unknown(variable, _VARIABLE, f"{where}.env[{j}]")


def _unknown(
    node: Mapping[str, Json], known: tuple[str, ...], where: str
) -> Iterator[tuple[str, str]]:
    for name in node:
        if name not in known:
            yield f"{where}.{name:.60}", f"unknown field{did_you_mean(name, known)}"


def _mapping(parent: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _mappings(parent: Mapping[str, Json], name: str) -> list[Mapping[str, Json]]:
    """The list under `name`, with an empty mapping for whatever is none, so that places stay."""
    value = parent.get(name)
    items = value if isinstance(value, list) else []
    return [item if isinstance(item, Mapping) else {} for item in items]
