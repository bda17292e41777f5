"""Ask and tell: the hot path of many short trials, so bodies and answers pass as they are."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.work import WorkReply, WorkVerb
from trialbus.contracts.work_events import UNNAMED
from trialbus_gateway.adapters.bodies import limited
from trialbus_gateway.adapters.rest.known_parameters import (
    EXAMPLE_TRIAL,
    EXPERIMENT,
    EXPERIMENT_PATH,
    experiment_of,
)
from trialbus_gateway.adapters.rest.operations import (
    JSON,
    Answer,
    Body,
    DescribedRoute,
    Endpoint,
    Example,
    Operation,
    described,
)
from trialbus_gateway.app.working import Working

_HELD: Mapping[str, Any] = {"trial": EXAMPLE_TRIAL, "attempt": 1}


def _operation(
    verb: WorkVerb, id_: str, summary: str, answered: str, example: Mapping[str, Any], about: str
) -> Operation:
    return Operation(
        id=id_,
        tag="workers",
        summary=summary,
        about=about,
        parameters=EXPERIMENT,
        body=Body(
            about="At most 256 KiB; fields that are not known are passed over.",
            shapes={JSON: UNNAMED[verb]},
            required=verb is not WorkVerb.ASK,
        ),
        answers={200: Answer(about=answered, shape=WorkReply)},
        failures=(404, 422),
        examples=[Example(name=verb.value, about=summary, body=dict(example))],
    )


_EACH = "What became of each, in their order: `accepted`, or `refused` with why."
OPERATIONS: Mapping[WorkVerb, Operation] = {
    WorkVerb.ASK: _operation(
        WorkVerb.ASK,
        "askForTrials",
        "Ask for trials to work on",
        "The trials that were given out; none, if there are none just now.",
        {"id": "laptop-7/1", "worker": "laptop-7", "count": 2, "lease": 30},
        "Each trial is the worker's own for `lease` seconds, which every word about it renews. "
        "The same `id` again gets the same trials; without one, a lost answer's trials are given "
        "out again when their lease is over.",
    ),
    WorkVerb.REPORT: _operation(
        WorkVerb.REPORT,
        "reportMetrics",
        "Report metrics of trials, step by step",
        _EACH,
        {"reports": [{**_HELD, "step": 1, "metrics": {"loss": 0.5}}]},
        "The answer's `stop` says why a trial should be stopped, if it should. A step is taken "
        "once; so is a report with an `id`.",
    ),
    WorkVerb.HEARTBEAT: _operation(
        WorkVerb.HEARTBEAT,
        "renewLeases",
        "Renew the leases of trials",
        _EACH,
        {"trials": [_HELD]},
        "The answer's `stop` says why a trial should be stopped, if it should.",
    ),
    WorkVerb.TELL: _operation(
        WorkVerb.TELL,
        "tellResults",
        "Tell how trials have ended",
        _EACH + " With `ask`, also the next trials.",
        {"results": [{**_HELD, "state": "succeeded", "metrics": {"accuracy": 0.9}}]},
        "`metrics` are last values; of a success the objective is among them, or was reported.",
    ),
    WorkVerb.RELEASE: _operation(
        WorkVerb.RELEASE,
        "releaseTrials",
        "Give trials back undone",
        _EACH,
        {"trials": [_HELD]},
        "They start again as the next attempt.",
    ),
}


class Workers:
    def __init__(self, working: Working) -> None:
        self._working = working

    def routes(self) -> list[DescribedRoute]:
        return [
            described("POST", f"{EXPERIMENT_PATH}/{verb.value}", self._saying(verb), operation)
            for verb, operation in OPERATIONS.items()
        ]

    def _saying(self, verb: WorkVerb) -> Endpoint:
        async def say(request: Request) -> Response:
            namespace, name = experiment_of(request)
            body = await limited(request)
            answer = await self._working.say(namespace, name, verb, body, request.is_disconnected)
            return Response(answer, media_type=JSON)

        return say
