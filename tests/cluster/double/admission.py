"""What happens to a body before it is stored: schema, defaults, and the rules that matter here."""

import re
from typing import TYPE_CHECKING, Any

from tests.cluster.double import errors
from tests.cluster.double.builtins import completed
from tests.cluster.double.checking import Findings, checked
from tests.cluster.double.errors import Cause
from tests.cluster.double.resources import Kind
from tests.cluster.double.rules import broken_rules
from tests.cluster.double.schemas import Node

if TYPE_CHECKING:
    from tests.cluster.double.objects import Objects, Target

Object = dict[str, Any]
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_LABEL_KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_NO_GENERATION = {"configmaps", "secrets", "events", "namespaces", "nodes", "leases", "services"}
_BLOCKING = (
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
)
POD_GRACE_S = 30


def has_generation(kind: Kind) -> bool:
    return kind.plural not in _NO_GENERATION


def admitted(target: "Target", body: Object, old: Object | None, objects: "Objects") -> Object:
    """The body as it will be stored. Raises 400 and 422."""
    body = _in_schema(target, body, old, objects)
    causes = _metadata_causes(body["metadata"], target.kind)
    if target.kind.builtin:
        causes += completed(target, body, old, objects)
    if causes:
        raise _invalid(target, body, causes)
    return body


def _invalid(target: "Target", body: Object, causes: list[Cause]) -> errors.ApiError:
    name = body["metadata"].get("name", "")
    return errors.invalid(target.kind.group, target.kind.kind, name, causes)


def _in_schema(target: "Target", body: Object, old: Object | None, objects: "Objects") -> Object:
    node = target.version.node
    if node is None:
        return body
    findings = Findings()
    clean: Object = checked(node, body, "", findings)
    if findings.wrong_types:
        text = f'{target.kind.kind} in version "{target.version.name}" cannot be handled as a'
        raise errors.bad_request(f"{text} {target.kind.kind}: {findings.wrong_types[0]}")
    if findings.unknown:
        told = [f'unknown field "{path}"' for path in findings.unknown]
        if target.validation == "Strict":
            text = f'{target.kind.kind} in version "{target.version.name}" cannot be handled as a'
            strict = f"strict decoding error: {', '.join(told)}"
            raise errors.bad_request(f"{text} {target.kind.kind}: {strict}")
        if target.validation == "Warn":
            objects.warnings += told
    causes = findings.causes
    if node.holds_rules:
        causes = [*causes, *_rule_causes(node, clean, old, causes)]
    if causes:
        raise _invalid(target, body, causes)
    return clean


def _rule_causes(node: Node, new: Object, old: Object | None, causes: list[Cause]) -> list[Cause]:
    """Rules are not looked at while the value has not the shape that they count on."""
    if not any(cause.reason in _BLOCKING for cause in causes):
        return broken_rules(node, new, old)
    text = (
        "some validation rules were not checked because the object was invalid; correct the "
        "existing errors to complete validation"
    )
    message = f'Invalid value: "null": {text}'
    return [Cause(reason="FieldValueInvalid", field="<nil>", message=message)]


def _metadata_causes(meta: Object, kind: Kind) -> list[Cause]:
    causes = []
    name = meta.get("name", "")
    rbac = kind.group == "rbac.authorization.k8s.io"
    if not rbac and (len(name) > 253 or not _NAME.match(name)):
        causes.append(_cause("metadata.name", name, _NAME_RULE))
    for where in ("labels",):
        for key, value in (meta.get(where) or {}).items():
            if not _LABEL_KEY.match(key) or len(key.rpartition("/")[2]) > 63:
                causes.append(_cause(f"metadata.{where}", key, "name part must consist of ..."))
            if len(value) > 63:
                causes.append(_cause(f"metadata.{where}", value, "must be no more than 63 bytes"))
            elif not _LABEL_VALUE.match(value):
                rule = "a valid label must be an empty string or consist of alphanumeric characters"
                causes.append(_cause(f"metadata.{where}", value, rule))
    return causes


def _cause(path: str, value: object, why: str) -> Cause:
    return Cause(reason="FieldValueInvalid", field=path, message=f'Invalid value: "{value}": {why}')


def changes_generation(target: "Target", old: Object, new: Object) -> bool:
    if not has_generation(target.kind) or target.subresource == "status":
        return False
    if target.kind.builtin:
        return bool(old.get("spec") != new.get("spec"))
    ignored = {"metadata", "status"} if target.version.status else {"metadata"}
    return any(old.get(k) != new.get(k) for k in (old.keys() | new.keys()) - ignored)


def default_propagation(kind: Kind) -> str:
    """Of batch/v1 Jobs the pods are left behind unless it is said otherwise."""
    return "Orphan" if (kind.group, kind.plural) == ("batch", "jobs") else "Background"


def grace_s(kind: Kind, obj: Object, asked: int | None) -> int:
    """Only pods end gracefully; one that never reached a node, or is over, goes at once."""
    if kind.plural != "pods" or kind.group:
        return 0
    phase = (obj.get("status") or {}).get("phase")
    if not obj["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return asked
    own = obj["spec"].get("terminationGracePeriodSeconds")
    return POD_GRACE_S if own is None else int(own)
