"""The gRPC service `trialbus.v1.Workers`: its messages are the bodies of `contracts.work`."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

from trialbus.adapters.grpc import call_metadata, handlers_of
from trialbus.contracts.command_events import DEFAULT_NAMESPACE
from trialbus.contracts.stubs import workers_pb2 as messages
from trialbus.contracts.work import Answered, GivenTrial, WorkReply, WorkVerb
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import Forbidden, TooMany, Unauthenticated, Unreadable
from trialbus_gateway.app.working import Working

SERVICE = "Workers"
_TOLD = {
    Unreadable: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_STATES = {
    messages.STATE_UNSPECIFIED: "succeeded",
    messages.STATE_SUCCEEDED: "succeeded",
    messages.STATE_FAILED: "failed",
}
_INT64 = range(-(2**63), 2**63)
Fields = dict[str, Any]
# A request's message -> the body that it stands for.
_Read = Callable[[Any], Fields]


def worker_calls(working: Working, door: Door) -> grpc.GenericRpcHandler:
    """Who calls is known by a bearer token in the metadata `authorization`."""
    reads: dict[WorkVerb, _Read] = {
        WorkVerb.ASK: lambda request: _ask(request.ask),
        WorkVerb.REPORT: lambda request: {"reports": [_report(it) for it in request.reports]},
        WorkVerb.HEARTBEAT: lambda request: {"trials": [_held(it) for it in request.trials]},
        WorkVerb.TELL: _tell,
        WorkVerb.RELEASE: lambda request: {"trials": [_held(it) for it in request.trials]},
    }
    responds = {
        verb.capitalize(): _saying(working, door, verb, read) for verb, read in reads.items()
    }
    return handlers_of(SERVICE, responds, _TOLD)


def _saying(
    working: Working, door: Door, verb: WorkVerb, read: _Read
) -> Callable[[Any], Awaitable[messages.WorkReply]]:
    within = "ask" if verb is WorkVerb.ASK else ""

    async def say(request: Any) -> messages.WorkReply:
        namespace = request.namespace or DEFAULT_NAMESPACE
        fields = read(request)
        with door.telling():
            identity = await door.identify(call_metadata("authorization"))
            door.admit(identity)
            with reach.acting_as(identity):
                reply = await working.say_fields(
                    namespace, request.experiment, verb, fields, within=within
                )
        return _reply(reply)

    return say


def _held(message: Any) -> Fields:
    return {"trial": message.trial, "attempt": message.attempt}


def _given_of(message: Any, names: Iterable[str]) -> Fields:
    """Optional fields that were set."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _ask(message: messages.Ask) -> Fields:
    named = {name: text for name in ("id", "worker") if (text := getattr(message, name))}
    return named | _given_of(message, ("count", "lease", "wait"))


def _report(message: messages.Report) -> Fields:
    given = _given_of(message, ("step", "at")) | ({"id": message.id} if message.id else {})
    return {**_held(message), "metrics": dict(message.metrics), **given}


def _tell(request: messages.TellRequest) -> Fields:
    results = [
        {
            **_held(it),
            # A state of a later version is refused by its number.
            "state": _STATES.get(it.state, str(it.state)),
            "metrics": dict(it.metrics),
            "message": it.message,
            **_given_of(it, ("reported",)),
        }
        for it in request.results
    ]
    return {"results": results} | ({"ask": _ask(request.ask)} if request.HasField("ask") else {})


def _reply(reply: WorkReply) -> messages.WorkReply:
    return messages.WorkReply(
        phase=reply.phase,
        over=reply.over,
        answers=map(_answer, reply.answers),
        trials=map(_trial, reply.trials),
    )


def _answer(answered: Answered) -> messages.Answer:
    return messages.Answer(
        trial=answered.trial,
        attempt=answered.attempt,
        accepted=answered.accepted,
        refused=answered.refused,
        stop=answered.stop,
    )


def _trial(given: GivenTrial) -> messages.GivenTrial:
    return messages.GivenTrial(
        trial=given.trial,
        attempt=given.attempt,
        index=given.index,
        parameters={name: _value(value) for name, value in given.parameters.items()},
        lease=given.lease,
        checkpoint=given.checkpoint,
        parent=given.parent,
        labels=given.labels,
        traceparent=given.traceparent,
    )


def _value(value: Any) -> messages.Value:
    if isinstance(value, float):
        return messages.Value(number=value)
    if isinstance(value, int) and value in _INT64:
        return messages.Value(integer=value)
    return messages.Value(text=value if isinstance(value, str) else json.dumps(value))
