"""Reading trials, one or many, and what they reported."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Trial
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.known_parameters import (
    AFTER,
    EXAMPLE_EXPERIMENT,
    EXAMPLE_NAMESPACE,
    EXPERIMENT,
    EXPERIMENT_PATH,
    FOLLOW,
    PAGE,
    TRIAL,
    WITHIN,
    experiment_of,
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
from trialbus_gateway.adapters.rest.shapes import (
    CurvesPage,
    TrialExplanation,
    TrialMetricsShape,
    TrialPage,
    TrialTable,
)
from trialbus_gateway.adapters.rest.trial_parameters import (
    FROM,
    METRIC,
    POINTS,
    POINTS_OF_MANY,
    SELECTION,
    SORT,
    SORT_CURVES,
    TO,
    VIEW,
    metrics_wanted,
    selection_of,
    view_of,
)
from trialbus_gateway.adapters.streams import text_stream
from trialbus_gateway.app.listing import PageRequest
from trialbus_gateway.app.questions import Questions

_MAX_TAIL_LINES = 100_000
_MAX_CURVES = 100

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
FEW = Whole(name="limit", about="At most so many trials.", least=1, most=_MAX_CURVES, default=20)
_TAIL = Whole(name="tail", about="Only the last so many lines.", least=0, most=_MAX_TAIL_LINES)

LIST = Operation(
    id="listTrials",
    tag="trials",
    summary="Trials",
    about="Of one experiment in the order of opening; else experiment by experiment, the newest "
    "first.",
    parameters=(WITHIN, _OF_EXPERIMENT, _OF_UID, *SELECTION, SORT, VIEW, *PAGE),
    answers={200: Answer(about="A page.", shape=TrialPage | TrialTable)},
    failures=(404,),
    examples=[
        Example(
            name="ofExperiment",
            about="The first hundred of an experiment",
            query={"namespace": EXAMPLE_NAMESPACE, "experiment": EXAMPLE_EXPERIMENT},
        ),
        Example(
            name="running",
            about="What runs or waits, in all namespaces",
            query={"state": ["Running", "Pending"], "view": "table"},
        ),
    ],
)
LIST_OF_EXPERIMENT = Operation(
    id="listTrialsOfExperiment",
    tag="trials",
    summary="The trials of an experiment: filtered, sorted, in pages",
    about="The store filters and sorts by indexes: no page reads all trials.",
    parameters=(*EXPERIMENT, *SELECTION, SORT, VIEW, *PAGE),
    answers={200: Answer(about="A page.", shape=TrialPage | TrialTable)},
    failures=(404,),
    examples=[
        Example(
            name="best",
            about="The three best that succeeded, as a table",
            query={"sort": "value", "state": ["Succeeded"], "view": "table", "limit": 3},
        ),
        Example(
            name="failed",
            about="What failed, the last first",
            query={"state": ["Failed", "MetricsUnavailable"], "sort": "-finished"},
        ),
        Example(
            name="within",
            about="Those with an objective above 0.5 among the first hundred",
            query={"valueFrom": 0.5, "indexTo": 99, "view": "table"},
        ),
    ],
)
CURVES = Operation(
    id="getMetricsOfExperiment",
    tag="metrics",
    summary="Metrics of many trials, for charts",
    about="Of the newest trials, unless `sort` says otherwise; of the objective, unless `metric` "
    "names others.",
    parameters=(*EXPERIMENT, METRIC, POINTS_OF_MANY, FROM, TO, *SELECTION, SORT_CURVES, FEW, AFTER),
    answers={200: Answer(about="A page of trials with their metrics.", shape=CurvesPage)},
    failures=(404,),
    examples=[
        Example(
            name="best",
            about="The curves of the five best trials that succeeded",
            query={"sort": "value", "state": ["Succeeded"], "limit": 5, "points": 50},
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
    parameters=(TRIAL, METRIC, POINTS, FROM, TO),
    answers={200: Answer(about="Its metrics.", shape=TrialMetricsShape)},
    failures=(404,),
    examples=[
        Example(name="all", about="All points"),
        Example(
            name="thinned",
            about="A curve of at most 500 points",
            query={"metric": ["accuracy"], "points": 500},
        ),
        Example(name="part", about="The first ten steps", query={"to": 10}),
    ],
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
            described("GET", f"{EXPERIMENT_PATH}/trials", self._of_one, LIST_OF_EXPERIMENT),
            described("GET", f"{EXPERIMENT_PATH}/metrics", self._curves, CURVES),
            described("GET", "/v1/trials/{trial}", self._get, GET),
            described("GET", "/v1/trials/{trial}/log", self._log, LOG),
            described("GET", "/v1/trials/{trial}/metrics", self._metrics, METRICS),
            described("GET", "/v1/trials/{trial}/explain", self._explain, EXPLAIN),
        ]

    async def _list(self, request: Request) -> Response:
        found = await self._questions.trials.page(
            WITHIN.text(request),
            _OF_EXPERIMENT.text(request),
            page_of(request),
            uid=_OF_UID.text(request),
            selection=selection_of(request),
            view=view_of(request),
        )
        return JsonAnswer(found)

    async def _of_one(self, request: Request) -> Response:
        found = await self._questions.trials.page(
            *experiment_of(request),
            page_of(request),
            selection=selection_of(request),
            view=view_of(request),
        )
        return JsonAnswer(found)

    async def _curves(self, request: Request) -> Response:
        limit = FEW.of(request)
        found = await self._questions.trials.metrics(
            *experiment_of(request),
            PageRequest.parse(str(limit), AFTER.text(request)),
            selection=selection_of(request, SORT_CURVES),
            wanted=metrics_wanted(request, POINTS_OF_MANY),
        )
        return JsonAnswer(found)

    async def _get(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.trial(trial_of(request)))

    async def _log(self, request: Request) -> Response:
        tail, follow = _TAIL.of(request), FOLLOW.of(request)
        pieces = await self._questions.log(trial_of(request), follow=follow, tail=tail)
        return await text_stream(pieces)

    async def _metrics(self, request: Request) -> Response:
        wanted = metrics_wanted(request)
        return JsonAnswer(await self._questions.metrics(trial_of(request), wanted))

    async def _explain(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.explain_trial(trial_of(request)))
