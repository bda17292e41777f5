"""What a write may say of itself: dryRun, fieldManager, fieldValidation, force; DeleteOptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from trialbus_gateway.adapters.kubernetes.field_validation import FieldValidation
from trialbus_gateway.adapters.kubernetes.list_options import flag_of
from trialbus_gateway.adapters.kubernetes.status_objects import (
    Cause,
    StatusFailure,
    Target,
    bad_request,
    invalid,
)

Object = dict[str, Any]

MAX_MANAGER_CHARS = 128
# Propagation policies; the last leaves what belongs to the object: here the history.
_POLICIES = ("Background", "Foreground", "Orphan")
_NO_WORD = "Invalid value"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """manager: who writes, for managedFields; named: whether the request said so."""

    dry_run: bool
    manager: str
    named: bool
    validation: FieldValidation
    force: bool

    @classmethod
    def parse(cls, request: Request) -> "WriteOptions":
        """Raises StatusFailure."""
        query = request.query_params
        given = query.get("fieldManager", "")
        if len(given) > MAX_MANAGER_CHARS or not given.isprintable():
            raise _refused(
                "fieldManager", f"may be {MAX_MANAGER_CHARS} printable characters at most"
            )
        agent = request.headers.get("user-agent", "").partition("/")[0].strip()
        agent = "".join(filter(str.isprintable, agent))[:MAX_MANAGER_CHARS]
        return cls(
            dry_run=_dry_run(query.getlist("dryRun")),
            manager=given or agent or "unknown",
            named=bool(given),
            validation=FieldValidation.parse(query.get("fieldValidation")),
            force=flag_of(request, "force"),
        )

    def applying_manager(self) -> str:
        """Raises StatusFailure: who applies must say who it is."""
        if not self.named:
            cause = Cause(
                reason="FieldValueRequired",
                message="Required value: is required for apply patch",
                field="fieldManager",
            )
            raise invalid(_options("PatchOptions"), [cause])
        return self.manager


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """uid, resource_version: only the object that has them."""

    dry_run: bool = False
    keep_history: bool = False
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def parse(cls, request: Request, body: Mapping[str, Any]) -> "DeleteOptions":
        """Of the body, else of the query. Raises StatusFailure."""
        query = request.query_params
        policy = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
        if policy not in _POLICIES:
            raise _refused(
                "propagationPolicy", f"{policy!s:.100}: must be one of {', '.join(_POLICIES)}",
                "DeleteOptions",
            )  # fmt: skip
        conditions = body.get("preconditions") or {}
        if not isinstance(conditions, Mapping):
            raise bad_request("preconditions: an object is needed")
        dry_run = body.get("dryRun") or query.getlist("dryRun")
        if not isinstance(dry_run, list):
            raise bad_request("dryRun: a list is needed")
        orphans = body.get("orphanDependents") is True
        return cls(
            dry_run=_dry_run(dry_run),
            keep_history=orphans or policy == "Orphan",
            uid=_text(conditions, "uid"),
            resource_version=_text(conditions, "resourceVersion"),
        )


def _dry_run(given: Sequence[Any]) -> bool:
    """All is the only stage that there is."""
    wrong = [stage for stage in given if stage not in ("", "All")]
    if wrong:
        raise _refused("dryRun", f'{wrong[0]!s:.100}: supported values: "All"')
    return "All" in given


def _text(conditions: Mapping[str, Any], name: str) -> str | None:
    value = conditions.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"preconditions.{name}: a text is needed")
    return value or None


def _refused(field: str, message: str, kind: str = "CreateOptions") -> StatusFailure:
    cause = Cause(reason="FieldValueInvalid", message=f"{_NO_WORD}: {message}", field=field)
    return invalid(_options(kind), [cause])


def _options(kind: str) -> Target:
    return Target(resource="", group="meta.k8s.io", kind=kind)
