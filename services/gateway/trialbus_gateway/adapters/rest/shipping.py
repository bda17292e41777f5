"""How a pod claims its attempt and ships its metrics (docs/explanation/wrapper.md)."""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.shipping import (
    MAX_NOTE_CHARS,
    MAX_OUTPUT_BYTES,
    MAX_PLACE,
    ClaimBody,
    Claimed,
    Shipped,
)
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import limited, strict_json
from trialbus_gateway.adapters.rest.known_parameters import TRIAL, trial_of
from trialbus_gateway.adapters.rest.operations import (
    JSON,
    Answer,
    Body,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.parameters import Flag, Text, Whole
from trialbus_gateway.app.failures import TooLarge, Unreadable
from trialbus_gateway.app.shipping import Shipping

BYTES = "application/octet-stream"
_PATH = "/v1/trials/{trial}/attempts/{attempt}"

ATTEMPT = Whole(
    name="attempt",
    about="Which attempt of the trial; the first is 1.",
    place="path",
    required=True,
    example=1,
    least=1,
    most=2**31 - 1,
)
FROM = Whole(
    name="from",
    about="Where in the stream the body begins: there a line or a frame begins.",
    least=0,
    most=MAX_PLACE,
    default=0,
)
FINAL = Flag(name="final", about="Nothing follows: the command has ended.")
NOTE = Text(
    name="note",
    about="`note` of the newest answer, as it came.",
    most_chars=MAX_NOTE_CHARS,
    pattern="^[A-Za-z0-9_-]*$",
)

CLAIM = Operation(
    id="claimAttempt",
    tag="trials",
    summary="Claim an attempt of a trial, before its command is run",
    about="For the trial's own token. The first holder has the attempt; a repeat is answered "
    "alike, another holder gets 409, as does everybody when the attempt is over.",
    parameters=(TRIAL, ATTEMPT),
    body=Body(about="Who claims it.", shapes={JSON: ClaimBody}),
    answers={200: Answer(about="It is the holder's; its stream begins there.", shape=Claimed)},
    failures=(404, 409),
    examples=[
        Example(
            name="claim",
            about="Claim a trial's first attempt",
            path={"trial": "tune-2g9ddpwk"},
            body={"holder": "pod-1"},
        )
    ],
)
OUTPUT = Operation(
    id="shipOutput",
    tag="metrics",
    summary="Ship a piece of what an attempt reports",
    about="For the trial's own token. Stored before it is answered. 409: the attempt is over, stop "
    "its command. 410: nothing more of it is wanted, its command may go on.",
    parameters=(TRIAL, ATTEMPT, FROM, FINAL, NOTE),
    body=Body(
        about="Whole lines of the output or of a file, or frames of event records; at most 128 "
        "KiB. None: asks whether to stop.",
        shapes={BYTES: bytes},
        required=False,
    ),
    answers={200: Answer(about="How far it is stored, and whether to stop.", shape=Shipped)},
    failures=(404, 409, 410),
    examples=[
        Example(
            name="ship",
            about="Ship two lines",
            path={"trial": "tune-2g9ddpwk"},
            query={"from": 0},
            body="accuracy=0.5\naccuracy=0.75\n",
            media_type=BYTES,
        )
    ],
)


class ShippingRoutes:
    def __init__(self, shipping: Shipping) -> None:
        self._shipping = shipping

    def routes(self) -> list[DescribedRoute]:
        return [
            described("POST", f"{_PATH}/output", self._output, OUTPUT),
            described("POST", f"{_PATH}/claim", self._claim, CLAIM),
        ]

    async def _claim(self, request: Request) -> Response:
        try:
            body = ClaimBody.model_validate(strict_json(await limited(request)))
        except ValidationError as error:
            raise Unreadable(f"no claim: {error.errors(include_url=False)[0]['msg']}") from error
        held = await self._shipping.claim(trial_of(request), _attempt_of(request), body.holder)
        return JsonAnswer(held.model_dump(mode="json"))

    async def _output(self, request: Request) -> Response:
        data = await limited(request)
        if len(data) > MAX_OUTPUT_BYTES:
            raise TooLarge(f"the body is larger than {MAX_OUTPUT_BYTES} bytes")
        start = FROM.of(request) or 0
        if start + len(data) > MAX_PLACE:
            raise FROM.refusal(str(start), f"a place with room for the body before {MAX_PLACE}")
        shipped = await self._shipping.output(
            trial_of(request),
            _attempt_of(request),
            data,
            start=start,
            final=FINAL.of(request),
            note=NOTE.of(request) or "",
        )
        return JsonAnswer(shipped.model_dump(mode="json"))


def _attempt_of(request: Request) -> int:
    attempt = ATTEMPT.of(request)
    assert attempt is not None
    return attempt
