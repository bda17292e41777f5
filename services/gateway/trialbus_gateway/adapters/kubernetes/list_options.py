"""What a list or a watch is asked for in its query (metav1.ListOptions)."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import Request

from trialbus.contracts.katib.views import EXPERIMENT_LABEL
from trialbus.kernel.errors import Problem
from trialbus_gateway.adapters.kubernetes.selectors import Selection, parse_fields, parse_labels
from trialbus_gateway.adapters.kubernetes.status_objects import (
    StatusFailure,
    Target,
    cause_of,
    invalid,
)
from trialbus_gateway.app.changes_listing import Scope
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.core.resource_versions import tick_of

# Watches that ask for no time end somewhere between these, so that not all come again at once.
_SHORTEST_S, _LONGEST_S = 1800.0, 3600.0
_EXACT = "Exact"
_NOT_OLDER = "NotOlderThan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """limit None: all. version: "" and "0" mean whatever is there. initial: a watch begins with
    the objects that are there; with_end: and says when it has told them all."""

    watch: bool
    limit: int | None
    token: str
    version: str
    exact: bool
    initial: bool
    with_end: bool
    bookmarks: bool
    timeout_s: int


def options_of(request: Request) -> ListOptions:
    """Raises Unreadable, StatusFailure 422."""
    query = request.query_params
    version, is_watch = query.get("resourceVersion", ""), flag_of(request, "watch")
    problems = list(_problems(request, is_watch=is_watch))
    if problems:
        raise _refused(problems)
    if version not in ("", "0"):
        if query.get("continue"):
            raise Unreadable("specifying resource version is not allowed when using continue")
        _check(version)
    told = query.get("sendInitialEvents")
    wants_initial = flag_of(request, "sendInitialEvents")
    return ListOptions(
        watch=is_watch,
        limit=number_of(request, "limit") or None,
        token=query.get("continue", ""),
        version=version,
        exact=query.get("resourceVersionMatch") == _EXACT,
        initial=wants_initial if told is not None else version in ("", "0"),
        with_end=wants_initial,
        bookmarks=flag_of(request, "allowWatchBookmarks"),
        timeout_s=number_of(request, "timeoutSeconds"),
    )


def scope_of(request: Request) -> Scope:
    """Raises Unreadable."""
    query = request.query_params
    selection = Selection(
        labels=parse_labels(query.get("labelSelector", "")),
        fields=parse_fields(query.get("fieldSelector", "")),
    )
    namespace = request.path_params.get("namespace") or selection.one_field("metadata.namespace")
    return Scope(
        namespace=namespace,
        name=selection.one_field("metadata.name"),
        experiment=selection.one_label(EXPERIMENT_LABEL),
        fits=selection.fits,
        fits_name=selection.fits_name,
    )


def flag_of(request: Request, name: str) -> bool:
    """As Kubernetes reads them: what is there and not false is true."""
    text = request.query_params.get(name)
    return text is not None and text.lower() not in ("false", "0")


def number_of(request: Request, name: str) -> int:
    """0 where there is none. Raises Unreadable."""
    text = request.query_params.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Unreadable(f"{name}: not a number: {text[:100]!r}")
    return int(text)


def lasting_s(timeout_s: int | None) -> float:
    """How long a watch goes on that is asked for with this time."""
    return timeout_s or random.uniform(_SHORTEST_S, _LONGEST_S)


def _problems(request: Request, *, is_watch: bool) -> Iterator[Problem]:
    """The rules of apimachinery, pkg/apis/meta/internalversion/validation."""
    query = request.query_params
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    field = "resourceVersionMatch"
    if is_watch and "sendInitialEvents" in query:
        if match != _NOT_OLDER:
            yield Problem(field=field, message=f"sendInitialEvents requires {_NOT_OLDER}")
        return
    if "sendInitialEvents" in query:
        yield Problem(field="sendInitialEvents", message="is forbidden for list")
    if not match:
        return
    if is_watch:
        yield Problem(field=field, message="is forbidden for watch without sendInitialEvents")
    if match not in (_EXACT, _NOT_OLDER):
        yield Problem(field=field, message=f'supported values: "{_EXACT}", "{_NOT_OLDER}", ""')
    if not version:
        yield Problem(field=field, message="is forbidden unless resourceVersion is provided")
    if query.get("continue"):
        yield Problem(field=field, message="is forbidden when continue is provided")
    if match == _EXACT and version == "0":
        yield Problem(field=field, message=f"{_EXACT} is forbidden for resourceVersion 0")


def _refused(problems: list[Problem]) -> StatusFailure:
    target = Target(resource="", group="meta.k8s.io", kind="ListOptions")
    return invalid(target, [cause_of(problem) for problem in problems])


def _check(version: str) -> None:
    try:
        tick_of(version)
    except ValueError as error:
        raise Unreadable(f"invalid resource version: {error}") from error
