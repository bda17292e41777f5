"""Pods and Jobs: the attempts of trials."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.views import EXPERIMENT_LABEL
from trialbus.kernel.ids import is_name
from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus_gateway.adapters.kubernetes.core_answers import CoreAnswers, CoreKind, Wanted
from trialbus_gateway.adapters.kubernetes.core_columns import JOB_COLUMNS, POD_COLUMNS
from trialbus_gateway.adapters.kubernetes.core_watching import (
    BOOKMARK_S,
    CoreWatch,
    Told,
    begins_with_all,
    is_watch,
)
from trialbus_gateway.adapters.kubernetes.pod_objects import (
    JOB_LABELS,
    TRIAL_LABEL,
    job_object,
    pod_object,
)
from trialbus_gateway.adapters.kubernetes.status_objects import method_not_allowed, not_found
from trialbus_gateway.app.attempts import Attempt
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.listing import Page, PageRequest
from trialbus_gateway.app.showing import Showing
from trialbus_gateway.core.change_log import Change, ChangeType, Kind
from trialbus_gateway.core.resource_versions import version_of

Object = dict[str, Any]

PODS = CoreKind(
    api_version="v1",
    resource="pods",
    kind="Pod",
    columns=POD_COLUMNS,
    fields=("metadata.name", "metadata.namespace", "status.phase", "spec.nodeName"),
)
JOBS = CoreKind(api_version="batch/v1", resource="jobs", kind="Job", columns=JOB_COLUMNS)
_WHY = "it shows a trial; delete or suspend the experiment"


class Pods:
    """One kind of both."""

    def __init__(
        self, showing: Showing, *, kind: CoreKind, make: Callable[[Attempt], Object]
    ) -> None:
        self._showing = showing
        self._attempts = showing.attempts
        self._changes = showing.changes
        self._answers = CoreAnswers(showing.clock)
        self._kind = kind
        self._make = make

    def routes(self) -> list[Route]:
        base = "/api/v1" if self._kind.api_version == "v1" else f"/apis/{self._kind.api_version}"
        within = f"{base}/namespaces/{{namespace}}/{self._kind.resource}"
        refused = ["POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(f"{base}/{self._kind.resource}", self._list, methods=["GET"]),
            Route(within, self._list, methods=["GET"]),
            Route(within, self._refuse, methods=refused),
            Route(f"{within}/{{name}}", self._get, methods=["GET"]),
            Route(f"{within}/{{name}}", self._refuse, methods=refused),
        ]

    async def _get(self, request: Request) -> Response:
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        try:
            attempt = await self._attempts.named(namespace, name)
        except (NotThere, Unreadable):
            raise not_found(self._kind.target(name)) from None
        index = await self._changes.index()
        view = self._view(attempt, version_of(index.trial_tick(attempt.trial)))
        return self._answers.one(self._kind, view, Wanted.of(request, self._kind))

    async def _refuse(self, request: Request) -> Response:
        target = self._kind.target(request.path_params.get("name", ""))
        raise method_not_allowed(target, request.method, _WHY)

    async def _list(self, request: Request) -> Response:
        wanted = Wanted.of(request, self._kind)
        namespace = request.path_params.get("namespace")
        index = await self._changes.index()
        # Before the list is read: what changes meanwhile is told again, never left out.
        version = version_of(index.log.newest)
        if is_watch(request):
            return await self._watch(request, wanted, namespace, version)
        page = await self._page(request, wanted, namespace)
        views = [
            self._view(attempt, version_of(index.trial_tick(attempt.trial)))
            for attempt in page.items
        ]
        return self._answers.many(self._kind, views, wanted, version=version, following=page.next)

    async def _watch(
        self, request: Request, wanted: Wanted, namespace: str | None, version: str
    ) -> Response:
        present: list[Object] = []
        since = request.query_params.get("resourceVersion", "")
        if begins_with_all(request):
            since = version
            found = await self._all(wanted, namespace)
            present = [self._view(attempt, version) for attempt in found]
        watch = CoreWatch(
            self._answers,
            self._kind,
            wanted,
            present=present,
            version=version,
            changes=self._changed(since, namespace),
        )
        return watch.answer(request)

    async def _changed(self, since: str, namespace: str | None) -> AsyncGenerator[Told, None]:
        async with aclosing(self._changes.follow(Kind.TRIALS, since, _bookmark_s)) as changes:
            async for change in changes:
                if isinstance(change, str):
                    yield Told(version=change)
                elif namespace in (None, change.view["metadata"]["namespace"]):
                    yield await self._told(change)

    async def _told(self, change: Change) -> Told:
        """As it is by now; of what is deleted only who it was."""
        metadata = change.view["metadata"]
        if change.type is not ChangeType.DELETED:
            try:
                attempt = await self._attempts.named(metadata["namespace"], metadata["name"])
            except NotThere:
                return Told(version=metadata["resourceVersion"])
            view = self._view(attempt, metadata["resourceVersion"])
            return Told(type=change.type.value, view=view)
        return Told(type="DELETED", view=_last(self._kind, metadata))

    def _view(self, attempt: Attempt, version: str) -> Object:
        view = self._make(attempt)
        view["metadata"]["resourceVersion"] = version
        return view

    async def _all(self, wanted: Wanted, namespace: str | None) -> list[Attempt]:
        found: list[Attempt] = []
        after: str | None = None
        while True:
            page = await self._read(wanted, namespace, _page(MAX_PAGE_ITEMS, after))
            found += page.items
            after = page.next
            if after is None:
                return found

    async def _page(self, request: Request, wanted: Wanted, namespace: str | None) -> Page[Attempt]:
        limit, after = request.query_params.get("limit"), request.query_params.get("continue")
        if limit in (None, "", "0"):
            return Page(items=await self._all(wanted, namespace), next=None)
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 9):
            raise Unreadable(f"limit: not a number: {limit[:100]!r}")
        return await self._read(wanted, namespace, _page(min(int(limit), MAX_PAGE_ITEMS), after))

    async def _read(
        self, wanted: Wanted, namespace: str | None, page: PageRequest
    ) -> Page[Attempt]:
        """What the selectors leave open is read; they are applied to all that is found."""
        name = wanted.one_field("metadata.name") or wanted.one_label(TRIAL_LABEL, *JOB_LABELS)
        experiment = wanted.one_label(EXPERIMENT_LABEL)
        if not all(is_name(it) for it in (name, experiment, namespace) if it is not None):
            # What may stand in a label is more than what something here can be called.
            return Page(items=[], next=None)
        try:
            if name is not None:
                trial = await self._showing.documents.trial(name)
                attempts = await self._attempts.of([trial])
                fitting = [it for it in attempts if namespace in (None, it.trial.namespace)]
                return Page(items=fitting, next=None)
            if experiment is not None and namespace is not None:
                state = await self._showing.documents.living(namespace, experiment)
                found = await self._showing.trial_listing.trials_of(state, page)
            else:
                found = await self._showing.trial_listing.trials(namespace, page)
        except NotThere:
            return Page(items=[], next=None)
        return Page(items=await self._attempts.of(found.items), next=found.next)


def _bookmark_s() -> float:
    return BOOKMARK_S


def _last(kind: CoreKind, trial: Object) -> Object:
    """Of what is gone. trial: its metadata."""
    kept = ("name", "namespace", "creationTimestamp", "resourceVersion")
    metadata = {name: trial[name] for name in kept if name in trial}
    names = dict.fromkeys((TRIAL_LABEL, *JOB_LABELS), trial["name"])
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {**metadata, "labels": {**trial.get("labels", {}), **names}},
        "spec": {"containers": [], "template": {"spec": {"containers": []}}},
        "status": {"phase": "Unknown", "containerStatuses": []},
    }


def _page(limit: int, after: str | None) -> PageRequest:
    return PageRequest.parse(str(limit), after)


def pods_and_jobs(showing: Showing) -> Sequence[Pods]:
    return (
        Pods(showing, kind=PODS, make=pod_object),
        Pods(showing, kind=JOBS, make=job_object),
    )
