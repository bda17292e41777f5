"""Reading experiments."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Experiment
from trialbus.kernel.experiment import GONE_PHASES, ExperimentPhase
from trialbus.kernel.limits import MAX_EXPERIMENT_NAME_CHARS
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.kubernetes.selectors import Selection, parse_labels
from trialbus_gateway.adapters.rest.known_parameters import (
    EXAMPLE_NAMESPACE,
    EXPERIMENT,
    EXPERIMENT_PATH,
    FOLLOW,
    PAGE,
    WITHIN,
    experiment_of,
    page_of,
)
from trialbus_gateway.adapters.rest.operations import (
    Answer,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.parameters import Choice, Choices, Flag, Text
from trialbus_gateway.adapters.rest.shapes import ExperimentPage, Explanation, Progress
from trialbus_gateway.adapters.streams import event_stream
from trialbus_gateway.app.listing import ExperimentSelection
from trialbus_gateway.app.questions import Questions

_MAX_EVENT_ID_CHARS = 1024
_MAX_SELECTOR_CHARS = 1024

_DELETED = Flag(
    name="deleted",
    about="Instead the 500 last deleted whose history was kept, without further pages; each has "
    "`metadata.deletionTimestamp`.",
)
_STATE = Choices(
    name="state",
    about="Only in one of these states: given several times, or in one with commas.",
    among=tuple(phase.value for phase in ExperimentPhase if phase not in GONE_PHASES),
)
_LABELS = Text(
    name="labelSelector",
    about="Only with such labels, in Kubernetes' words: `team=vision,tier in (a, b),!old`. A page "
    "may be short where few have them.",
    most_chars=_MAX_SELECTOR_CHARS,
)
_PREFIX = Text(
    name="namePrefix",
    about="Only those whose names begin so.",
    most_chars=MAX_EXPERIMENT_NAME_CHARS,
    pattern="^[-a-z0-9]*$",
)
_SORT = Choice(
    name="sort",
    about="By creation: the newest first, or the oldest (`created`).",
    among=("-created", "created"),
    default="-created",
)
# What a browser sends when its stream broke off.
_LAST_EVENT = Text(
    name="last-event-id",
    about="Only what came after this event; if it is not known any more, all.",
    place="header",
    most_chars=_MAX_EVENT_ID_CHARS,
)

LIST = Operation(
    id="listExperiments",
    tag="experiments",
    summary="Experiments, the newest first",
    parameters=(WITHIN, _STATE, _LABELS, _PREFIX, _SORT, _DELETED, *PAGE),
    answers={200: Answer(about="A page.", shape=ExperimentPage)},
    failures=(404,),
    examples=[
        Example(
            name="newest",
            about="The ten newest of a namespace",
            query={"namespace": EXAMPLE_NAMESPACE, "limit": 10},
        ),
        Example(
            name="failedOfTeam",
            about="A team's failed ones, the oldest first",
            query={"state": ["Failed"], "labelSelector": "team=vision", "sort": "created"},
        ),
        Example(name="deleted", about="Deleted ones", query={"deleted": True}),
    ],
)
GET = Operation(
    id="getExperiment",
    tag="experiments",
    summary="One experiment",
    parameters=EXPERIMENT,
    answers={200: Answer(about="Katib's Experiment object.", shape=Experiment)},
    failures=(404,),
    examples=[Example(name="one", about="An experiment")],
)
PROGRESS = Operation(
    id="getProgress",
    tag="experiments",
    summary="An experiment in a few numbers, with its best trial",
    about="For displays that ask often: it costs two or three reads of the store.",
    parameters=EXPERIMENT,
    answers={200: Answer(about="Its progress.", shape=Progress)},
    failures=(404,),
    examples=[Example(name="progress", about="How far it is")],
)
EVENTS = Operation(
    id="getEvents",
    tag="events",
    summary="An experiment's events, as server-sent events",
    about="From the stream, oldest first; each is a CloudEvent as one line of JSON. Without "
    "`follow` the answer ends after the stored ones.",
    parameters=(*EXPERIMENT, FOLLOW, _LAST_EVENT),
    answers={200: Answer(about="`id:` and `data:` of each event.", media_type="text/event-stream")},
    failures=(404,),
    examples=[Example(name="stored", about="The stored events")],
)
EXPLAIN = Operation(
    id="explainExperiment",
    tag="experiments",
    summary="Why an experiment is in its state",
    about="Complete even if the stream of events is lost. What it waits for now stands at the end "
    "of the chain.",
    parameters=EXPERIMENT,
    answers={200: Answer(about="What led there.", shape=Explanation)},
    failures=(404,),
    examples=[Example(name="why", about="Why it runs")],
)


class ExperimentReading:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def routes(self) -> list[DescribedRoute]:
        return [
            described("GET", "/v1/experiments", self._list, LIST),
            described("GET", EXPERIMENT_PATH, self._get, GET),
            described("GET", f"{EXPERIMENT_PATH}/progress", self._progress, PROGRESS),
            described("GET", f"{EXPERIMENT_PATH}/events", self._events, EVENTS),
            described("GET", f"{EXPERIMENT_PATH}/explain", self._explain, EXPLAIN),
        ]

    async def _list(self, request: Request) -> Response:
        wanted = _selection_of(request)
        if _DELETED.of(request):
            return JsonAnswer(await self._questions.archived(wanted.namespace))
        return JsonAnswer(await self._questions.experiments(wanted, page_of(request)))

    async def _get(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.experiment(*experiment_of(request)))

    async def _progress(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.progress(*experiment_of(request)))

    async def _events(self, request: Request) -> Response:
        follow, last = FOLLOW.of(request), _LAST_EVENT.of(request) or ""
        events = await self._questions.events(*experiment_of(request), follow=follow, after=last)
        return await event_stream(events)

    async def _explain(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.explain_experiment(*experiment_of(request)))


def _selection_of(request: Request) -> ExperimentSelection:
    """Raises Unreadable."""
    selector = _LABELS.of(request)
    return ExperimentSelection(
        namespace=WITHIN.text(request),
        phases=_STATE.of(request),
        name_prefix=_PREFIX.of(request) or "",
        fits=Selection(labels=parse_labels(selector)).fits if selector else None,
        oldest_first=_SORT.of(request) == "created",
    )
