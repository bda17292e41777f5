"""Words of workers as they come over the bus: bodies of `work`, or CloudEvents that carry them.

`io.trialbus.trial.<verb>.v1`, `subject` the experiment, `data` the same body. A CloudEvent is named
by its source and id, so what its data leaves unnamed (an ask, a report without a step) gets its id
from them: the same event twice is one effect.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from trialbus.contracts import subjects
from trialbus.contracts.cloud_events import CloudEvent
from trialbus.contracts.command_events import experiment_of
from trialbus.contracts.envelope import check_size
from trialbus.contracts.messages import Request
from trialbus.contracts.requests import event_in
from trialbus.contracts.work import BODIES, Ask, Reports, Tell, Word, Work, WorkVerb
from trialbus.contracts.wrong_fields import wrong_fields
from trialbus.kernel.errors import Poison, Problem, Refused

_PREFIX, _SUFFIX = "io.trialbus.trial.", ".v1"
_NAMES = uuid.UUID("f0b6f1f3-5a5e-5c1c-9b0a-6d1d1c0f7a35")
_VERBS = {verb.value: verb for verb in WorkVerb}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAsked:
    """event_id: of the CloudEvent that it came as; None: it came as a body of our own."""

    verb: WorkVerb
    namespace: str
    name: str
    body: Work
    event_id: str | None = None


class UnnamedAsk(Ask):
    """An ask that may leave out its id, which is "" then."""

    id: Word = ""


class UnnamedTell(Tell):
    """A tell whose ask may leave out its id."""

    ask: UnnamedAsk | None = None


# What is read where an id can be made for what has none.
UNNAMED = BODIES | {WorkVerb.ASK: UnnamedAsk, WorkVerb.TELL: UnnamedTell}


def event_type(verb: WorkVerb) -> str:
    return f"{_PREFIX}{verb.value}{_SUFFIX}"


def is_work(event: CloudEvent) -> bool:
    return _verb_of(event) is not None


def read_work(request: Request) -> WorkAsked:
    """Raises Poison, Refused."""
    try:
        subject = subjects.parse_command(request.subject)
    except ValueError as error:
        raise Poison(str(error)) from error
    verb = _VERBS.get(subject.verb)
    if verb is None:
        raise Poison(f"unknown command {subject.verb!r}: one of {', '.join(_VERBS)}")
    event = event_in(request)
    if event is None:
        return WorkAsked(
            verb=verb,
            namespace=subject.namespace,
            name=subject.experiment,
            body=_body(BODIES[verb], check_size(request.data)),
        )
    told = read_work_event(event)
    if (told.verb, told.namespace, told.name) != (verb, subject.namespace, subject.experiment):
        said = f"{told.verb} of {told.namespace}/{told.name}"
        meant = f"{verb} of {subject.namespace}/{subject.experiment}"
        message = f"the event is a {said}, the message's subject says {meant}"
        raise Refused([Problem(field="subject", message=message)])
    return told


def read_work_event(event: CloudEvent) -> WorkAsked:
    """Raises Refused with every problem of its data."""
    verb = _verb_of(event)
    if verb is None:
        known = ", ".join(map(event_type, WorkVerb))
        raise Refused([Problem(field="type", message=f"is no word of a worker: one of {known}")])
    namespace, name = experiment_of(event.subject)
    data = {} if event.data is None and verb is WorkVerb.ASK else event.data
    body = read_unnamed_fields(verb, data, within="data")

    def make_id(part: str) -> str:
        return str(uuid.uuid5(_NAMES, f"{event.source}\0{event.id}\0{part}"))

    return WorkAsked(
        verb=verb, namespace=namespace, name=name, body=named(body, make_id), event_id=event.id
    )


def read_unnamed(verb: WorkVerb, data: bytes) -> Work:
    """A body in which an ask may leave out its id, see `named`. Raises Poison, Refused."""
    return _body(UNNAMED[verb], data)


def read_unnamed_fields(verb: WorkVerb, fields: Any, *, within: str) -> Work:
    """The same of JSON that has been read. within: where it stood. Raises Refused."""
    try:
        return _plain(cast(Work, UNNAMED[verb].model_validate(fields)))
    except ValidationError as error:
        raise Refused(wrong_fields(error, within=within)) from error


def named(body: Work, make_id: Callable[[str], str]) -> Work:
    """With an id for each part that a repeat could not be told from; `body` itself if it has them.

    make_id: the part ("ask", or the index of the report) -> its id.
    """
    match body:
        case Ask():
            return body if body.id else body.model_copy(update={"id": make_id("ask")})
        case Tell(ask=Ask(id="") as ask):
            return body.model_copy(update={"ask": named(ask, make_id)})
        case Reports() if any(it.step is None and it.id is None for it in body.reports):
            reports = tuple(
                it.model_copy(update={"id": make_id(str(index))})
                if it.step is None and it.id is None
                else it
                for index, it in enumerate(body.reports)
            )
            return body.model_copy(update={"reports": reports})
        case _:
            return body


def _plain(body: Work) -> Work:
    """Of exactly the types in `BODIES`."""
    match body:
        case UnnamedAsk():
            return Ask.model_construct(**dict(body))
        case UnnamedTell(results=results, ask=ask):
            return Tell.model_construct(results=results, ask=None if ask is None else _plain(ask))
        case _:
            return body


def _verb_of(event: CloudEvent) -> WorkVerb | None:
    verb = _VERBS.get(event.type.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    return verb if verb is not None and event.type == event_type(verb) else None


def _body(model: type[Any], data: bytes) -> Work:
    try:
        return cast(Work, model.model_validate_json(data))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        if problems[0]["type"] == "json_invalid":
            raise Poison(f"the body is not JSON: {problems[0]['msg']}") from error
        raise Refused(wrong_fields(error)) from error
