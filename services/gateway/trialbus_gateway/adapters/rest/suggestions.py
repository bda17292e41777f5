"""Reading what algorithms drew."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Suggestion
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.known_parameters import (
    AFTER,
    EXPERIMENT,
    EXPERIMENT_PATH,
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
from trialbus_gateway.adapters.rest.parameters import Whole
from trialbus_gateway.adapters.rest.shapes import PointsPage, SuggestionPage
from trialbus_gateway.app.listing import PageRequest
from trialbus_gateway.app.questions import Questions

GET = Operation(
    id="getSuggestion",
    tag="suggestions",
    summary="The Suggestion of an experiment",
    parameters=EXPERIMENT,
    answers={200: Answer(about="Katib's Suggestion object.", shape=Suggestion)},
    failures=(404,),
    examples=[Example(name="one", about="A Suggestion")],
)
LIST = Operation(
    id="listSuggestions",
    tag="suggestions",
    summary="Suggestions, those of the newest experiments first",
    parameters=(WITHIN, *PAGE),
    answers={200: Answer(about="A page.", shape=SuggestionPage)},
    failures=(404,),
    examples=[Example(name="all", about="Of all namespaces")],
)

FEW = Whole(name="limit", about="At most so many answers.", least=1, most=100, default=20)
POINTS = Operation(
    id="listPoints",
    tag="suggestions",
    summary="The points that an experiment's algorithm drew, the last first",
    about="By the answers that held them. A point became a trial, or is ahead of need, or was "
    "dropped with the end of the experiment.",
    parameters=(*EXPERIMENT, FEW, AFTER),
    answers={200: Answer(about="A page of answers.", shape=PointsPage)},
    failures=(404,),
    examples=[Example(name="last", about="The last answer", query={"limit": 1})],
)


class SuggestionReading:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def routes(self) -> list[DescribedRoute]:
        return [
            described("GET", f"{EXPERIMENT_PATH}/suggestion", self._get, GET),
            described("GET", "/v1/suggestions", self._list, LIST),
            described("GET", f"{EXPERIMENT_PATH}/suggestions", self._points, POINTS),
        ]

    async def _get(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.suggestion(*experiment_of(request)))

    async def _list(self, request: Request) -> Response:
        found = await self._questions.suggestions(WITHIN.text(request), page_of(request))
        return JsonAnswer(found)

    async def _points(self, request: Request) -> Response:
        page = PageRequest.parse(str(FEW.of(request)), AFTER.text(request))
        return JsonAnswer(await self._questions.points.page(*experiment_of(request), page))
