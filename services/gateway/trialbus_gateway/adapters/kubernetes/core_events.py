"""core/v1 events: the stories of experiments and trials, step by step."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.models import API_VERSION
from trialbus.kernel.ids import is_name
from trialbus_gateway.adapters.kubernetes.core_answers import CoreAnswers, CoreKind, Wanted
from trialbus_gateway.adapters.kubernetes.core_columns import EVENT_COLUMNS
from trialbus_gateway.adapters.kubernetes.core_watching import (
    CoreWatch,
    Told,
    begins_with_all,
    is_watch,
)
from trialbus_gateway.adapters.kubernetes.event_objects import Involved, events_of
from trialbus_gateway.adapters.kubernetes.status_objects import method_not_allowed, not_found
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.listing import ExperimentSelection, PageRequest
from trialbus_gateway.app.showing import Showing
from trialbus_gateway.core.stories import Story

Object = dict[str, Any]

_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
EVENTS = CoreKind(
    api_version="v1",
    resource="events",
    kind="Event",
    columns=EVENT_COLUMNS,
    fields=(
        "metadata.name",
        "metadata.namespace",
        "reason",
        "type",
        "source",
        "reportingComponent",
        *(f"involvedObject.{name}" for name in _INVOLVED),
    ),
)
# What events can be about. Job and Pod tell a part of their trial's story, when they are asked.
_KINDS = ("Experiment", "Trial", "Job", "Pod")
# Without a name: the newest experiments and trials. Kubernetes forgets events after an hour.
_EXPERIMENTS, _TRIALS = 50, 200
# An event is never changed, so a watch looks for those that it has not told.
_LOOK_EVERY_S = 1.0
_BASE = "/api/v1"


class CoreEvents:
    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._clock = showing.clock
        self._answers = CoreAnswers(showing.clock)

    def routes(self) -> list[Route]:
        within = f"{_BASE}/namespaces/{{namespace}}/events"
        refused = ["POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(f"{_BASE}/events", self._list, methods=["GET"]),
            Route(within, self._list, methods=["GET"]),
            Route(within, self._refuse, methods=refused),
            Route(f"{within}/{{name}}", self._get, methods=["GET"]),
            Route(f"{within}/{{name}}", self._refuse, methods=refused),
        ]

    async def _list(self, request: Request) -> Response:
        wanted = Wanted.of(request, EVENTS)
        namespace = request.path_params.get("namespace")
        version = str(int(self._clock.now() * 1e6))
        if is_watch(request):
            return self._watch(request, wanted, namespace, version)
        found = await self._found(wanted, namespace)
        return self._answers.many(EVENTS, found, wanted, version=version)

    async def _get(self, request: Request) -> Response:
        """An event's name begins with that of its object."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        wanted = Wanted.of(request, EVENTS)
        owner = name.rpartition(".")[0]
        for view in await self._of_name(namespace, owner, _KINDS) if is_name(owner) else ():
            if view["metadata"]["name"] == name:
                return self._answers.one(EVENTS, view, wanted)
        raise not_found(EVENTS.target(name))

    async def _refuse(self, request: Request) -> Response:
        target = EVENTS.target(request.path_params.get("name", ""))
        raise method_not_allowed(target, request.method, "events are told from what is stored")

    def _watch(
        self, request: Request, wanted: Wanted, namespace: str | None, version: str
    ) -> Response:
        """Of a version only its time counts, so it is never too old."""
        given = request.query_params.get("resourceVersion", "")
        if not (given.isascii() and (given.isdigit() or not given) and len(given) <= 19):
            raise Unreadable(f"invalid resource version: {given[:100]!r}")
        since = 0 if begins_with_all(request) else int(given)
        watch = CoreWatch(
            self._answers,
            EVENTS,
            wanted,
            present=(),
            version=version,
            changes=self._new(wanted, namespace, since),
        )
        return watch.answer(request)

    async def _new(
        self, wanted: Wanted, namespace: str | None, since: int
    ) -> AsyncGenerator[Told, None]:
        told: set[str] = set()
        while True:
            found = await self._found(wanted, namespace)
            for view in found:
                metadata = view["metadata"]
                if metadata["uid"] not in told and int(metadata["resourceVersion"]) > since:
                    yield Told(type="ADDED", view=view)
            # Of what is found no more nothing is remembered, however long somebody watches.
            told = {view["metadata"]["uid"] for view in found}
            await self._clock.sleep(_LOOK_EVERY_S)

    async def _found(self, wanted: Wanted, namespace: str | None) -> list[Object]:
        """Oldest first."""
        name = wanted.one_field("involvedObject.name")
        within = namespace or wanted.one_field("involvedObject.namespace")
        if name is not None and within is not None:
            kind, uid = (wanted.one_field(f"involvedObject.{it}") for it in ("kind", "uid"))
            # Where only an uid says which, the selector chooses among all that are of the name.
            kinds = (kind,) if kind else _KINDS if uid else _KINDS[:2]
            found = await self._of_name(within, name, kinds)
        elif namespace is not None and not is_name(namespace):
            found = []
        else:
            found = await self._of_newest(namespace)
        return sorted(found, key=lambda view: int(view["metadata"]["resourceVersion"]))

    async def _of_name(self, namespace: str, name: str, kinds: Sequence[str]) -> Sequence[Object]:
        found: list[Object] = []
        for kind in kinds:
            if kind == "Experiment":
                found += await self._of_experiment(namespace, name)
            elif kind in _KINDS:
                found += await self._of_trial(namespace, name, kind)
        return found

    async def _of_experiment(self, namespace: str, name: str) -> list[Object]:
        try:
            state = await self._showing.documents.living(namespace, name)
        except (NotThere, Unreadable):
            return []
        story = await self._showing.telling.experiment(state)
        return self._events(_involved("Experiment", namespace, name, state.id), story)

    async def _of_trial(self, namespace: str, name: str, kind: str) -> list[Object]:
        try:
            trial = await self._showing.documents.trial(name)
        except (NotThere, Unreadable):
            return []
        if trial.namespace != namespace or not await self._showing.documents.experiments(
            [trial.uid]
        ):
            return []
        told = await self._showing.telling.trial(trial)
        uid = {"Job": f"{trial.id}.job", "Pod": f"{trial.id}.{trial.attempt}"}.get(kind, trial.id)
        return self._events(_involved(kind, namespace, name, uid), told.story)

    async def _of_newest(self, namespace: str | None) -> list[Object]:
        wanted = ExperimentSelection(namespace=namespace)
        page = await self._showing.listing.experiments(wanted, _page(_EXPERIMENTS))
        found: list[Object] = []
        for state in page.items:
            involved = _involved("Experiment", state.namespace, state.name, state.id)
            found += self._events(involved, await self._showing.telling.experiment(state))
        left = _TRIALS
        for state in page.items:
            trials = await self._showing.newest_trials(state.id, left) if left else []
            left -= len(trials)
            stories = await self._showing.telling.trials(trials, {state.id: state})
            for trial, story in zip(trials, stories, strict=True):
                involved = _involved("Trial", trial.namespace, trial.name, trial.id)
                found += self._events(involved, story)
        return found

    def _events(self, involved: Involved, story: Story) -> list[Object]:
        return list(events_of(involved, story, self._clock.now()))


def _page(limit: int) -> PageRequest:
    return PageRequest.parse(str(limit), None)


def _involved(kind: str, namespace: str, name: str, uid: str) -> Involved:
    version = {"Job": "batch/v1", "Pod": "v1"}.get(kind, API_VERSION)
    return Involved(api_version=version, kind=kind, namespace=namespace, name=name, uid=uid)
