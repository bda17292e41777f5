"""Commands as CloudEvents: what a pipeline posts, over HTTP or NATS.

`io.trialbus.experiment.<verb>.v1`: the imperative of the events that follow from it. `subject` is
the experiment, `<namespace>/<name>` (or its name alone, in the namespace `default`).
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.cloud_events import CloudEvent
from trialbus.contracts.commands import NOT_THERE, Command, Verb
from trialbus.kernel import ids
from trialbus.kernel.errors import Problem, Refused

CREATE = "create"
# Verb of the event -> verb of the command.
VERBS: Mapping[str, Verb] = {CREATE: Verb.APPLY} | {verb.value: verb for verb in Verb}
DEFAULT_NAMESPACE = "default"

_PREFIX, _SUFFIX = "io.trialbus.experiment.", ".v1"
# An event is named by source and id together.
_COMMAND_IDS = uuid.UUID("0d9c4b0f-6b3e-5d0e-8c55-0d6f3b7f9a21")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEvent:
    """id: of the event, as its sender gave it. verb: of the event, so `create` too."""

    id: str
    verb: str
    namespace: str
    name: str
    command: Command


def event_type(verb: str) -> str:
    return f"{_PREFIX}{verb}{_SUFFIX}"


def read_command(event: CloudEvent) -> CommandEvent:
    """Raises Refused with every problem that shows without the experiment."""
    verb = event.type.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    if event.type != event_type(verb) or verb not in VERBS:
        known = ", ".join(map(event_type, VERBS))
        raise Refused([Problem(field="type", message=f"is no command: one of {known}")])
    if problems := list(_data_problems(verb, event.data)):
        raise Refused(problems)
    namespace, name = _names(verb, event)
    return CommandEvent(
        id=event.id, verb=verb, namespace=namespace, name=name, command=_command(verb, event)
    )


def _command(verb: str, event: CloudEvent) -> Command:
    data: dict[str, Any] = event.data or {}
    carries_object = VERBS[verb] is Verb.APPLY
    return Command(
        id=str(uuid.uuid5(_COMMAND_IDS, f"{event.source}\0{event.id}")),
        object=data if carries_object else None,
        working_dir=event.extensions.get("workingdir"),
        uid=event.extensions.get("experimentuid"),
        revision=NOT_THERE if verb == CREATE else None,
        keep_history=bool(data.get("keepHistory", False)) if verb == Verb.DELETE else False,
        edit=data if verb == Verb.EDIT else None,
        portion=data if verb == Verb.IMPORT else None,
    )


def _data_problems(verb: str, data: Any) -> Iterator[Problem]:
    needed = verb in (CREATE, Verb.APPLY, Verb.EDIT, Verb.IMPORT)
    if data is None and not needed:
        return
    if not isinstance(data, dict):
        yield Problem(field="data", message="must be a JSON object")
    elif verb == Verb.EDIT and not data:
        yield Problem(field="data", message="must say what is to be changed")
    elif not needed:
        allowed = ("keepHistory",) if verb == Verb.DELETE else ()
        for name in data:
            if name not in allowed:
                yield Problem(field=f"data.{name}", message=f"{verb} takes no such field")
        if not isinstance(data.get("keepHistory", False), bool):
            yield Problem(field="data.keepHistory", message="must be true or false")


def experiment_of(subject: str) -> tuple[str, str]:
    """Namespace and name: `<namespace>/<name>`, or a name in the default one. Raises Refused."""
    return _checked("subject", *_said(subject))


def _names(verb: str, event: CloudEvent) -> tuple[str, str]:
    """Of the experiment: by the subject; an object names itself."""
    if VERBS[verb] is not Verb.APPLY:
        return experiment_of(event.subject)
    metadata = event.data.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    own = (fields.get("namespace") or DEFAULT_NAMESPACE, fields.get("name"))
    if event.subject and _said(event.subject) != own and event.subject != own[1]:
        message = f"is {event.subject}, the object is {own[0]}/{own[1]}"
        raise Refused([Problem(field="subject", message=message)])
    return _checked("data.metadata", *own)


def _said(subject: str) -> tuple[str, str]:
    namespace, _, name = subject.rpartition("/")
    return namespace or DEFAULT_NAMESPACE, name


def _checked(field: str, namespace: Any, name: Any) -> tuple[str, str]:
    if problems := [Problem(field=field, message=it) for it in _name_problems(namespace, name)]:
        raise Refused(problems)
    return namespace, name


def _name_problems(namespace: object, name: object) -> Iterator[str]:
    for what, text in (("namespace", namespace), ("name", name)):
        if text is None:
            yield f"the {what} is missing"
        elif not isinstance(text, str) or not ids.is_name(text):
            yield f"the {what} {text!r:.80} is no DNS label (lower case letters, digits and '-')"
