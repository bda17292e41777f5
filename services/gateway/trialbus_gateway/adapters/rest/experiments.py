"""Reading experiments."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Experiment
from trialbus_gateway.adapters.answers_json import JsonAnswer
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
from trialbus_gateway.adapters.rest.parameters import Flag, Text
from trialbus_gateway.adapters.rest.shapes import ExperimentPage, Explanation, Progress
from trialbus_gateway.adapters.streams import event_stream
from trialbus_gateway.app.questions import Questions

_MAX_EVENT_ID_CHARS = 1024

_DELETED = Flag(
    name="deleted",
    about="Instead the 500 last deleted whose history was kept, without further pages; each has "
    "`metadata.deletionTimestamp`.",
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
    parameters=(WITHIN, _DELETED, *PAGE),
    answers={200: Answer(about="A page.", shape=ExperimentPage)},
    examples=[
        Example(
            name="newest",
            about="The ten newest of a namespace",
            query={"namespace": EXAMPLE_NAMESPACE, "limit": 10},
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
        namespace = WITHIN.text(request)
        if _DELETED.of(request):
            return JsonAnswer(await self._questions.archived(namespace))
        return JsonAnswer(await self._questions.experiments(namespace, page_of(request)))

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
