"""Commands as they come over the bus: our own, and CloudEvents of any client of NATS."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from trialbus.contracts import subjects
from trialbus.contracts.cloud_events import CloudEvent, from_binary, from_structured, is_structured
from trialbus.contracts.command_events import VERBS, read_command
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.envelope import check_size
from trialbus.kernel.errors import Poison, Problem, Refused
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_MESSAGE_CHARS, MAX_TOLD_ITEMS
from trialbus.ports.bus import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """event_id: of the CloudEvent that it came as; None: it came as our own command."""

    verb: Verb
    namespace: str
    name: str
    command: Command
    event_id: str | None = None

    @property
    def alive_name(self) -> str:
        return f"{self.namespace}/{self.name}"


def read_request(request: Request) -> Asked:
    """Raises Poison, Refused."""
    try:
        subject = subjects.parse_command(request.subject)
    except ValueError as error:
        raise Poison(str(error)) from error
    if subject.verb not in VERBS:
        known = ", ".join(VERBS)
        raise Poison(f"unknown command {subject.verb!r}: one of {known}")
    event = _event(request)
    if event is not None:
        return _of_event(event, subject)
    return Asked(
        verb=VERBS[subject.verb],
        namespace=subject.namespace,
        name=subject.experiment,
        command=Command.from_bytes(request.data),
    )


def refused_notice(
    request: Request, asked: Asked | None, problems: Sequence[Problem], now: float
) -> Event | None:
    """None: the subject names no experiment."""
    try:
        subject = subjects.parse_command(request.subject)
    except ValueError:
        return None
    command = asked.event_id or asked.command.id if asked is not None else ""
    # Of the same bytes always the same, so that a repeat is told once.
    digest = blake2b(request.subject.encode() + b"\0" + request.data, digest_size=16).hexdigest()
    return Event(
        id=f"{digest}.command.refused",
        type="command.refused",
        uid=(asked.command.uid if asked is not None else None) or digest,
        namespace=subject.namespace,
        experiment=subject.experiment,
        at=now,
        reason="CommandRefused",
        message="; ".join(
            f"{it.field}: {it.message}" if it.field else it.message for it in problems
        )[:MAX_MESSAGE_CHARS],
        data={
            "verb": subject.verb,
            "command": command,
            "problems": [
                {"field": it.field, "message": it.message[:MAX_MESSAGE_CHARS]}
                for it in problems[:MAX_TOLD_ITEMS]
            ],
        },
    )


def _event(request: Request) -> CloudEvent | None:
    """The CloudEvent that the message is, in either mode; None: it is a command of our own."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if is_structured(headers.get("content-type", "")):
        try:
            return from_structured(json.loads(check_size(request.data)))
        except (ValueError, RecursionError) as error:
            raise Poison(f"the event is not JSON: {error}") from error
    if "ce-specversion" in headers:
        return from_binary(headers, check_size(request.data))
    return None


def _of_event(event: CloudEvent, subject: subjects.CommandSubject) -> Asked:
    told = read_command(event)
    if (told.namespace, told.name, told.verb) != (
        subject.namespace,
        subject.experiment,
        subject.verb,
    ):
        said = f"{told.verb} of {told.namespace}/{told.name}"
        meant = f"{subject.verb} of {subject.namespace}/{subject.experiment}"
        message = f"the event is a {said}, the message's subject says {meant}"
        raise Refused([Problem(field="subject", message=message)])
    return Asked(
        verb=VERBS[told.verb],
        namespace=told.namespace,
        name=told.name,
        command=told.command,
        event_id=told.id,
    )
