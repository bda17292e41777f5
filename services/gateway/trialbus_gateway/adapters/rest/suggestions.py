"""Reading what algorithms drew."""

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.models import Suggestion
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.known_parameters import (
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
from trialbus_gateway.adapters.rest.shapes import SuggestionPage
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
    examples=[Example(name="all", about="Of all namespaces")],
)


class SuggestionReading:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def routes(self) -> list[DescribedRoute]:
        return [
            described("GET", f"{EXPERIMENT_PATH}/suggestion", self._get, GET),
            described("GET", "/v1/suggestions", self._list, LIST),
        ]

    async def _get(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.suggestion(*experiment_of(request)))

    async def _list(self, request: Request) -> Response:
        found = await self._questions.suggestions(WITHIN.text(request), page_of(request))
        return JsonAnswer(found)
