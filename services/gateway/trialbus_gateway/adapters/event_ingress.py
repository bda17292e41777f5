"""`POST /v1/events`: CloudEvents in, over HTTP's three modes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.cloud_events import (
    CloudEvent,
    from_binary,
    from_structured,
    is_batch,
    is_structured,
)
from trialbus.contracts.envelope import TRACEPARENT
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_BATCH_EVENTS, MAX_EVENT_WAIT_S
from trialbus.kernel.traces import parse_traceparent
from trialbus.ports.tracing import NoTracing, SpanKind, Tracing
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import count, limited, strict_json
from trialbus_gateway.adapters.failures import CAUGHT, failure_of
from trialbus_gateway.adapters.rest.event_posting import POST
from trialbus_gateway.adapters.rest.operations import DescribedRoute, described
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.ingress import Ingress, Taken, Worked

PATH = "/v1/events"
_JSON = "application/json"


class EventIngress:
    def __init__(self, ingress: Ingress, tracing: Tracing | None = None) -> None:
        self._ingress = ingress
        self._tracing = tracing or NoTracing()

    def routes(self) -> list[DescribedRoute]:
        return [described("POST", PATH, self._post, POST)]

    async def _post(self, request: Request) -> Response:
        wait_s = _wait_s(request)
        content_type = request.headers.get("content-type", "")
        body = await limited(request)
        traced = TRACEPARENT in request.headers
        if is_batch(content_type):
            return await self._batch(strict_json(body), wait_s, traced=traced)
        if is_structured(content_type) or _holds_event(request, content_type):
            event = from_structured(strict_json(body))
        elif "ce-specversion" in request.headers:
            event = from_binary(request.headers, body)
        else:
            raise Unreadable(
                "not a CloudEvent: neither headers `ce-*` nor application/cloudevents+json"
            )
        return await self._one(event, wait_s, traced=traced)

    async def _one(self, event: CloudEvent, wait_s: float, *, traced: bool) -> Response:
        taken = await self._take(event, traced=traced)
        if isinstance(taken, Worked):
            return JsonAnswer(taken.as_json())
        if not wait_s:
            return JsonAnswer(taken.as_json(), status_code=202)
        told = await self._awaited(taken, wait_s)
        return JsonAnswer(told, status_code=200 if told["finished"] else 202)

    async def _awaited(self, taken: Taken, wait_s: float) -> dict[str, Any]:
        result = await self._ingress.result(taken, wait_s)
        return {**taken.as_json(), "finished": result is not None, "result": result}

    async def _take(self, event: CloudEvent, *, traced: bool) -> Taken | Worked:
        """In the trace that the event names (CloudEvents, distributed tracing extension), unless
        the request that it came with is itself `traced`."""
        tracing = self._tracing
        named = parse_traceparent(event.extensions.get(TRACEPARENT)) if tracing.on else None
        if traced or named is None:
            return await self._ingress.take(event)
        carried = tracing.current()
        links = [carried] if carried is not None and carried.sampled else []
        with tracing.span("event", kind=SpanKind.CONSUMER, parent=named, links=links) as span:
            span.note({"cloudevents.event_type": event.type, "cloudevents.event_id": event.id})
            return await self._ingress.take(event)

    async def _batch(self, events: Any, wait_s: float, *, traced: bool) -> Response:
        """One after the other, each with its own answer: a wrong one does not keep out the rest.
        Then all experiments are waited for together, no longer than for one."""
        if not isinstance(events, list):
            raise Unreadable("a batch is a JSON array of CloudEvents")
        if len(events) > MAX_BATCH_EVENTS:
            raise Refused([Problem(field="", message=f"more than {MAX_BATCH_EVENTS} events")])
        taken = [await self._taken_of_batch(event, traced=traced) for event in events]
        answers = await asyncio.gather(*(self._told_of_batch(it, wait_s) for it in taken))
        return JsonAnswer({"events": answers}, status_code=_status_of(answers, wait_s))

    async def _taken_of_batch(self, event: Any, *, traced: bool) -> Taken | Worked | dict[str, Any]:
        """An answer that is complete where it was refused."""
        try:
            return await self._take(from_structured(event), traced=traced)
        except CAUGHT as error:
            status, message, problems = failure_of(error)
            named = event.get("id") if isinstance(event, dict) else None
            shown = [{"field": it.field, "message": it.message} for it in problems]
            return {"id": named, "status": status, "message": message, "problems": shown}

    async def _told_of_batch(
        self, taken: Taken | Worked | dict[str, Any], wait_s: float
    ) -> dict[str, Any]:
        if isinstance(taken, dict):
            return taken
        if isinstance(taken, Worked):
            return {**taken.as_json(), "status": 200}
        if not wait_s:
            return {**taken.as_json(), "status": 202}
        told = await self._awaited(taken, wait_s)
        return {**told, "status": 200 if told["finished"] else 202}


def _status_of(answers: Sequence[dict[str, Any]], wait_s: float) -> int:
    """200: all that was waited for has ended."""
    statuses = {answer["status"] for answer in answers}
    if any(status >= 300 for status in statuses):
        return 207
    return 200 if wait_s and statuses == {200} else 202


def _holds_event(request: Request, content_type: str) -> bool:
    """Plain JSON without the headers of binary mode: a structured event from a simple client."""
    plain = content_type.partition(";")[0].strip().lower() == _JSON
    return plain and "ce-specversion" not in request.headers


def _wait_s(request: Request) -> float:
    """`?wait=SECONDS`; 0: do not wait for the experiment's end."""
    return float(count(request, "wait", int(MAX_EVENT_WAIT_S)) or 0)
