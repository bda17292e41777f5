"""Defaults and rules of built-in kinds, as far as trials, their pods and definitions need them."""

from typing import TYPE_CHECKING, Any

from tests.cluster.double.errors import Cause
from tests.cluster.double.structural import definition_causes

if TYPE_CHECKING:
    from tests.cluster.double.objects import Objects, Target

Object = dict[str, Any]
JOB_LABELS = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
OLD_JOB_LABELS = ("controller-uid", "job-name")
TRACKING = "batch.kubernetes.io/job-tracking"
_FREE_IN_SUSPENDED = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def _required(path: str, why: str = "") -> Cause:
    message = f"Required value: {why}" if why else "Required value"
    return Cause(reason="FieldValueRequired", field=path, message=message)


def _wrong(path: str, value: object, why: str) -> Cause:
    return Cause(reason="FieldValueInvalid", field=path, message=f"Invalid value: {value}: {why}")


def completed(
    target: "Target", body: Object, old: Object | None, objects: "Objects"
) -> list[Cause]:
    """Fills the defaults into the body and says what is wrong with it."""
    plural = target.kind.plural
    if plural == "pods":
        return _pod(body, old)
    if plural == "jobs":
        return _job(body, old)
    if plural == "namespaces" and old is None:
        body["spec"] = {"finalizers": ["kubernetes"]}
        body["status"] = {"phase": "Active"}
        name = body["metadata"]["name"]
        labels = body["metadata"].get("labels") or {}
        body["metadata"]["labels"] = labels | {"kubernetes.io/metadata.name": name}
    if plural == "customresourcedefinitions":
        return _definition(body, old, objects.timestamp())
    if plural == "resourcequotas" and "status" not in body:
        body["status"] = {"hard": body["spec"].get("hard") or {}, "used": {}}
    if plural == "configmaps":
        return _config_map(body, old)
    return []


def _config_map(body: Object, old: Object | None) -> list[Cause]:
    frozen = old is not None and old.get("immutable")
    if frozen and old is not None and body.get("data") != old.get("data"):
        text = "Forbidden: field is immutable when `immutable` is set"
        return [Cause(reason="FieldValueForbidden", field="data", message=text)]
    return []


# -- pods


def _pod(body: Object, old: Object | None) -> list[Cause]:
    spec = body.get("spec")
    if not isinstance(spec, dict):
        return [_required("spec.containers")]
    causes = _pod_spec(spec, "spec")
    if old is None:
        body["status"] = {"phase": "Pending", "qosClass": _quality(spec)}
    elif _unchangeable(spec) != _unchangeable(old["spec"]):
        text = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
            "be set to 1 if it was previously negative)"
        )
        causes.append(Cause(reason="FieldValueForbidden", field="spec", message=text))
    return causes


def _unchangeable(spec: Object) -> Object:
    free = ("activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates")
    kept = {key: value for key, value in spec.items() if key not in free}
    for key in ("containers", "initContainers"):
        kept[key] = [c | {"image": ""} for c in spec.get(key) or ()]
    return kept


def _quality(spec: Object) -> str:
    sets = [c.get("resources") or {} for c in spec["containers"]]
    if not any(r.get("requests") or r.get("limits") for r in sets):
        return "BestEffort"
    same = all(
        r.get("limits") and r.get("requests", r["limits"]) == r["limits"] and "cpu" in r["limits"]
        for r in sets
    )
    return "Guaranteed" if same else "Burstable"


def _pod_spec(spec: Object, path: str) -> list[Cause]:
    defaults = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
    }
    for key, value in defaults.items():
        spec.setdefault(key, value)
    causes = []
    if not spec.get("containers"):
        causes.append(_required(f"{path}.containers"))
    names = set()
    volumes = {volume["name"] for volume in spec.get("volumes") or () if "name" in volume}
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            where = f"{path}.{group}[{i}]"
            causes += _container(container, where, volumes)
            name = container.get("name")
            if name in names:
                text = f'Duplicate value: "{name}"'
                field = f"{where}.name"
                causes.append(Cause(reason="FieldValueDuplicate", field=field, message=text))
            names.add(name)
    return causes


def _container(container: Object, path: str, volumes: set[str]) -> list[Cause]:
    causes = []
    image = container.get("image")
    if not image:
        causes.append(_required(f"{path}.image"))
        image = ""
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            text = f'Not found: "{mount.get("name")}"'
            field = f"{path}.volumeMounts[{i}].name"
            causes.append(Cause(reason="FieldValueNotFound", field=field, message=text))
    return causes


# -- jobs


def _job(body: Object, old: Object | None) -> list[Cause]:
    spec, meta = body.get("spec"), body["metadata"]
    if not isinstance(spec, dict) or not isinstance(spec.get("template"), dict):
        return [_required("spec.template.spec.containers")]
    spec.setdefault("backoffLimit", 6)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    failed_only = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", failed_only)
    if old is None:
        _identify(spec, meta)
    template = spec["template"]
    pod = template.setdefault("spec", {})
    causes = _pod_spec(pod, "spec.template.spec")
    policy = pod["restartPolicy"]
    if policy not in ("OnFailure", "Never"):
        field = "spec.template.spec.restartPolicy"
        if policy == "Always":
            causes.append(_required(field, 'valid values: "OnFailure", "Never"'))
        else:
            text = f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"'
            causes.append(Cause(reason="FieldValueNotSupported", field=field, message=text))
    causes += _failure_policy(spec, policy)
    if old is not None:
        causes += _immutable(spec, old["spec"])
    return causes


def _identify(spec: Object, meta: Object) -> None:
    """The selector and the labels that tie the pods to this very job."""
    values = (meta["uid"], meta["name"])
    template_meta = dict(spec["template"].get("metadata") or {})
    if not spec.get("manualSelector"):
        spec["selector"] = {"matchLabels": {JOB_LABELS[0]: meta["uid"]}}
    labels = dict(template_meta.get("labels") or {})
    labels |= dict(zip(JOB_LABELS, values, strict=True))
    template_meta["labels"] = labels | dict(zip(OLD_JOB_LABELS, values, strict=True))
    spec["template"]["metadata"] = template_meta
    meta.setdefault("labels", dict(template_meta["labels"]))


def _failure_policy(spec: Object, restart: str) -> list[Cause]:
    if not spec.get("podFailurePolicy"):
        return []
    causes = []
    if restart != "Never":
        text = "only supports the following restart policy: Never"
        causes.append(_wrong("spec.template.spec.restartPolicy", f'"{restart}"', text))
    if spec["podReplacementPolicy"] != "Failed":
        text = 'Unsupported value: "TerminatingOrFailed": supported values: "Failed"'
        field = "spec.podReplacementPolicy"
        causes.append(Cause(reason="FieldValueNotSupported", field=field, message=text))
    return causes


def _immutable(spec: Object, old: Object) -> list[Cause]:
    causes = [
        _wrong(f"spec.{key}", '"object"', "field is immutable")
        for key in ("selector", "completionMode", "podFailurePolicy", "completions")
        if spec.get(key) != old.get(key)
    ]
    new_template, old_template = spec["template"], old["template"]
    if old.get("suspend"):
        new_template, old_template = map(_without_scheduling, (new_template, old_template))
    if new_template != old_template:
        causes.append(_wrong("spec.template", '"object"', "field is immutable"))
    return causes


def _without_scheduling(template: Object) -> Object:
    spec = {k: v for k, v in template["spec"].items() if k not in _FREE_IN_SUSPENDED}
    return {"spec": spec}


# -- definitions of custom resources


def _definition(body: Object, old: Object | None, now: str) -> list[Cause]:
    spec = body.get("spec") or {}
    causes = definition_causes(body["metadata"]["name"], spec)
    if causes:
        return causes
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    if old is None:
        conditions = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the names have been accepted", now),
        ]
        stored = [v["name"] for v in spec["versions"] if v["storage"]]
        body["status"] = {
            "acceptedNames": names,
            "conditions": conditions,
            "storedVersions": stored,
        }
    return []


def _condition(kind: str, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
    }
