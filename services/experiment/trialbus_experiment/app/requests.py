"""Commands as they come over the bus: our own, and CloudEvents of any client of NATS."""

from dataclasses import dataclass

from trialbus.contracts import subjects
from trialbus.contracts.cloud_events import CloudEvent
from trialbus.contracts.command_events import VERBS, read_command
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.requests import event_in
from trialbus.contracts.work import WorkVerb
from trialbus.kernel.errors import Poison, Problem, Refused
from trialbus.ports.bus import Request

_WORK_VERBS = frozenset(WorkVerb)


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


def is_of_worker(request: Request) -> bool:
    """Whether it is a word of a worker, which another service answers on the same subjects."""
    return request.subject.rpartition(".")[2] in _WORK_VERBS


def read_request(request: Request) -> Asked:
    """Raises Poison, Refused."""
    try:
        subject = subjects.parse_command(request.subject)
    except ValueError as error:
        raise Poison(str(error)) from error
    if subject.verb not in VERBS:
        known = ", ".join(VERBS)
        raise Poison(f"unknown command {subject.verb!r}: one of {known}")
    event = event_in(request)
    if event is not None:
        return _of_event(event, subject)
    return Asked(
        verb=VERBS[subject.verb],
        namespace=subject.namespace,
        name=subject.experiment,
        command=Command.from_bytes(request.data),
    )


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
