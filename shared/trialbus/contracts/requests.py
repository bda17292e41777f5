"""Requests as they come over the bus: our own bodies, and CloudEvents of any client of NATS."""

import json
from collections.abc import Sequence
from hashlib import blake2b

from trialbus.contracts import subjects
from trialbus.contracts.cloud_events import CloudEvent, from_binary, from_structured, is_structured
from trialbus.contracts.envelope import check_size
from trialbus.contracts.messages import Request
from trialbus.kernel.errors import Poison, Problem
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_MESSAGE_CHARS, MAX_TOLD_ITEMS


def event_in(request: Request) -> CloudEvent | None:
    """The CloudEvent that the message is, in either mode; None: it is a body of our own.

    Raises Poison, Refused."""
    if not request.headers:
        return None
    headers = {name.lower(): value for name, value in request.headers.items()}
    if is_structured(headers.get("content-type", "")):
        try:
            return from_structured(json.loads(check_size(request.data)))
        except (ValueError, RecursionError) as error:
            raise Poison(f"the event is not JSON: {error}") from error
    if "ce-specversion" in headers:
        return from_binary(headers, check_size(request.data))
    return None


def refused_notice(
    request: Request,
    problems: Sequence[Problem],
    now: float,
    *,
    command: str = "",
    uid: str | None = None,
) -> Event | None:
    """For whoever sent a command and waits for no answer. command: its id or that of its event,
    uid: the experiment that it is meant for, as far as they are known. None: the subject names no
    experiment."""
    try:
        subject = subjects.parse_command(request.subject)
    except ValueError:
        return None
    # Of the same bytes always the same, so that a repeat is told once.
    digest = blake2b(request.subject.encode() + b"\0" + request.data, digest_size=16).hexdigest()
    return Event(
        id=f"{digest}.command.refused",
        type="command.refused",
        uid=uid or digest,
        namespace=subject.namespace,
        experiment=subject.experiment,
        at=now,
        reason="CommandRefused",
        message="; ".join(map(str, problems))[:MAX_MESSAGE_CHARS],
        data={
            "verb": subject.verb,
            "command": command,
            "problems": [
                {"field": it.field, "message": it.message[:MAX_MESSAGE_CHARS]}
                for it in problems[:MAX_TOLD_ITEMS]
            ],
        },
    )
