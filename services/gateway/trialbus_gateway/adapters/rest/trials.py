"""Reading trials."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Trial
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.known_parameters import (
    EXAMPLE_EXPERIMENT,
    EXAMPLE_NAMESPACE,
    FOLLOW,
    PAGE,
    TRIAL,
    WITHIN,
    page_of,
    trial_of,
)
from trialbus_gateway.adapters.rest.operations import (
    Answer,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.parameters import NAME_SCHEMA_PATTERN, Text, Whole
from trialbus_gateway.adapters.rest.shapes import TrialExplanation, TrialMetricsShape, TrialPage
from trialbus_gateway.adapters.streams import text_stream
from trialbus_gateway.app.questions import Questions

_MAX_TAIL_LINES = 100_000

_OF_EXPERIMENT = Text(
    name="experiment",
    about="Only of this experiment, in the order of opening; `namespace` is needed then.",
    least_chars=1,
    most_chars=63,
    pattern=NAME_SCHEMA_PATTERN,
)
_OF_UID = Text(
    name="uid",
    about="Only of the experiment with this uid, which may be deleted if its history was kept.",
    least_chars=1,
    most_chars=63,
    pattern=NAME_SCHEMA_PATTERN,
)
_TAIL = Whole(name="tail", about="Only the last so many lines.", least=0, most=_MAX_TAIL_LINES)

LIST = Operation(
    id="listTrials",
    tag="trials",
    summary="Trials",
    about="Of one experiment in the order of opening; else experiment by experiment, the newest "
    "first.",
    parameters=(WITHIN, _OF_EXPERIMENT, _OF_UID, *PAGE),
    answers={200: Answer(about="A page.", shape=TrialPage)},
    failures=(404,),
    examples=[
        Example(
            name="ofExperiment",
            about="The first hundred of an experiment",
            query={"namespace": EXAMPLE_NAMESPACE, "experiment": EXAMPLE_EXPERIMENT},
        )
    ],
)
GET = Operation(
    id="getTrial",
    tag="trials",
    summary="One trial",
    parameters=(TRIAL,),
    answers={200: Answer(about="Katib's Trial object.", shape=Trial)},
    failures=(404,),
    examples=[Example(name="one", about="A trial")],
)
LOG = Operation(
    id="getLog",
    tag="trials",
    summary="What a trial's newest attempt printed",
    about="After the end of a run whose folder is gone: the kept tail.",
    parameters=(TRIAL, FOLLOW, _TAIL),
    answers={200: Answer(about="Its output, in chunks.", media_type="text/plain")},
    failures=(404,),
    examples=[Example(name="lastLines", about="Its last ten lines", query={"tail": 10})],
)
METRICS = Operation(
    id="getMetrics",
    tag="metrics",
    summary="What a trial's newest attempt reported",
    parameters=(TRIAL,),
    answers={200: Answer(about="Its metrics.", shape=TrialMetricsShape)},
    failures=(404,),
    examples=[Example(name="all", about="All points")],
)
EXPLAIN = Operation(
    id="explainTrial",
    tag="trials",
    summary="Why a trial is in its state",
    parameters=(TRIAL,),
    answers={200: Answer(about="What led there.", shape=TrialExplanation)},
    failures=(404,),
    examples=[Example(name="why", about="Why it ended so")],
)


class TrialReading:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def routes(self) -> list[DescribedRoute]:
        return [
            described("GET", "/v1/trials", self._list, LIST),
            described("GET", "/v1/trials/{trial}", self._get, GET),
            described("GET", "/v1/trials/{trial}/log", self._log, LOG),
            described("GET", "/v1/trials/{trial}/metrics", self._metrics, METRICS),
            described("GET", "/v1/trials/{trial}/explain", self._explain, EXPLAIN),
        ]

    async def _list(self, request: Request) -> Response:
        found = await self._questions.trials(
            WITHIN.text(request),
            _OF_EXPERIMENT.text(request),
            page_of(request),
            uid=_OF_UID.text(request),
        )
        return JsonAnswer(found)

    async def _get(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.trial(trial_of(request)))

    async def _log(self, request: Request) -> Response:
        tail, follow = _TAIL.of(request), FOLLOW.of(request)
        pieces = await self._questions.log(trial_of(request), follow=follow, tail=tail)
        return await text_stream(pieces)

    async def _metrics(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.metrics(trial_of(request)))

    async def _explain(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.explain_trial(trial_of(request)))
