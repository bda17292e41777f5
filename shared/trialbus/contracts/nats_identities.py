"""Who may say and hear what on the bus: one table, and the permissions that follow from it.

A service says the events that it produces, asks whom it must, answers whom it serves, and reads its
own durables. What is not here is denied. `docs/how-to/secure-the-bus.md` shows the outcome.

Replies go to the inbox of whoever asked. Each identity has its own prefix: `_INBOX_<name>` of ours,
`_INBOX_<role>.<name>` of others, so that a server, which may publish to the inboxes of those only
that may ask it, needs no list of all names. (NATS' `allow_responses` would let it publish to any
subject that a request names as its reply, so that who may ask could make it say anything.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trialbus.contracts import jetstream_api, subjects
from trialbus.contracts.commands import Verb
from trialbus.contracts.queues import QUEUES
from trialbus.contracts.work import WorkVerb
from trialbus.kernel import ids
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.events import EVENT_TYPES

GATEWAY = "gateway"
EXPERIMENT = "experiment"
SUGGESTION = "suggestion"
TRIAL_LAUNCHER = "trial_launcher"
METRICS_COLLECTOR = "metrics_collector"
EARLY_STOPPING = "early_stopping"
PROVISIONER = "provisioner"
SERVICES = (
    GATEWAY,
    EXPERIMENT,
    SUGGESTION,
    TRIAL_LAUNCHER,
    METRICS_COLLECTOR,
    EARLY_STOPPING,
)
STREAMS = (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM)


class Role(StrEnum):
    SERVICE = "service"
    PROVISIONER = "provisioner"
    PIPELINE = "pipeline"
    WORKER = "worker"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """name: of its key and its inbox. scopes: of a pipeline or worker its namespaces; of a trial
    `<namespace>/<experiment>/<trial>`, once; else none."""

    name: str
    role: Role
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Patterns of subjects; a subscription may end in ` <queue>`, then only as one of that group.
    What is not allowed is denied; `deny_publish` takes out of what is allowed."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny_publish: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """Requests, who answers them, and who may ask."""

    patterns: tuple[str, ...]
    server: str
    services: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()


_EXCHANGES = (
    _Exchange(
        patterns=tuple(subjects.commands(verb.value) for verb in Verb),
        server=EXPERIMENT,
        services=(GATEWAY,),
        roles=(Role.PIPELINE,),
    ),
    _Exchange(
        patterns=tuple(subjects.commands(verb.value) for verb in WorkVerb),
        server=TRIAL_LAUNCHER,
        services=(GATEWAY,),
        roles=(Role.PIPELINE, Role.WORKER),
    ),
    _Exchange(patterns=(subjects.metrics(),), server=METRICS_COLLECTOR, services=(TRIAL_LAUNCHER,)),
    _Exchange(
        patterns=(subjects.pushes(),),
        server=METRICS_COLLECTOR,
        services=(GATEWAY, TRIAL_LAUNCHER, EXPERIMENT),
        roles=(Role.TRIAL,),
    ),
    _Exchange(
        patterns=(subjects.claims(), subjects.outputs()),
        server=TRIAL_LAUNCHER,
        services=(GATEWAY,),
    ),
    _Exchange(patterns=(subjects.checks(),), server=TRIAL_LAUNCHER, services=(GATEWAY,)),
    _Exchange(patterns=(subjects.logs(),), server=TRIAL_LAUNCHER, services=(GATEWAY,)),
)
# What a service says besides the events that it is the producer of.
_ALSO_SAYS = {TRIAL_LAUNCHER: ("command.refused",)}
# Hears every command: words of workers too, which it leaves to the launcher.
_HEARS_ALL_COMMANDS = EXPERIMENT


def services() -> tuple[Identity, ...]:
    """The identities that every system has: its services, and who makes the streams."""
    return (
        *(Identity(name=name, role=Role.SERVICE) for name in SERVICES),
        Identity(name=PROVISIONER, role=Role.PROVISIONER),
    )


def outside(role: Role, name: str, scopes: Sequence[str]) -> Identity:
    """An identity for what is not ours. Raises Refused with every problem."""
    problems = list(_problems(role, name, scopes))
    if problems:
        raise Refused(problems)
    return Identity(name=name, role=role, scopes=tuple(scopes))


def _problems(role: Role, name: str, scopes: Sequence[str]) -> Iterator[Problem]:
    if not ids.is_name(name):
        yield Problem(field="name", message=f"{name!r} is no name: lower-case letters, digits, '-'")
    elif name in {identity.name for identity in services()}:
        yield Problem(field="name", message=f"{name!r} is one of our own")
    if not scopes:
        yield Problem(field=name, message="needs at least one namespace")
    if role is Role.TRIAL and len(scopes) > 1:
        yield Problem(field=name, message="is of one trial only")
    parts = 3 if role is Role.TRIAL else 1
    form = "<namespace>/<experiment>/<trial>" if role is Role.TRIAL else "a namespace"
    for scope in scopes:
        names = scope.split("/")
        if len(names) != parts or not all(map(ids.is_name, names)):
            yield Problem(field=name, message=f"{scope!r} is not {form}")


def inbox_prefix(identity: Identity) -> str:
    """Below it an identity hears replies, and nobody else does."""
    ours = identity.role in (Role.SERVICE, Role.PROVISIONER)
    return f"_INBOX_{identity.name}" if ours else f"_INBOX_{identity.role}.{identity.name}"


def permissions_of(identity: Identity) -> Permissions:
    inbox = f"{inbox_prefix(identity)}.>"
    match identity.role:
        case Role.SERVICE:
            return _of_service(identity.name)
        case Role.PROVISIONER:
            return Permissions(publish=tuple(_provisioning()), subscribe=(inbox,))
        case Role.PIPELINE:
            return Permissions(
                publish=tuple(subjects.commands(namespace=it) for it in identity.scopes),
                subscribe=(inbox, *map(subjects.all_events_of, identity.scopes)),
            )
        case Role.WORKER:
            return Permissions(
                publish=tuple(
                    subjects.commands(verb.value, namespace=it)
                    for it in identity.scopes
                    for verb in WorkVerb
                ),
                subscribe=(inbox,),
            )
        case Role.TRIAL:
            pushes = tuple(subjects.push(*scope.split("/")) for scope in identity.scopes)
            return Permissions(publish=pushes, subscribe=(inbox,))


def reply_patterns(server: str) -> tuple[str, ...]:
    """Where `server` may answer: below the inboxes of those who may ask it."""
    exchanges = [exchange for exchange in _EXCHANGES if exchange.server == server]
    ours = [f"_INBOX_{name}.>" for exchange in exchanges for name in exchange.services]
    others = [f"_INBOX_{role}.*.>" for exchange in exchanges for role in exchange.roles]
    return tuple(dict.fromkeys([*ours, *others]))


def _of_service(name: str) -> Permissions:
    asked = [it for exchange in _EXCHANGES if name in exchange.services for it in exchange.patterns]
    produced = [it.name for it in EVENT_TYPES.values() if it.producer == name]
    said = [subjects.events(event_type=it) for it in (*produced, *_ALSO_SAYS.get(name, ()))]
    publish = [
        *said,
        *asked,
        *reply_patterns(name),
        *map(jetstream_api.stream_info, STREAMS),
        *_reading(name),
        *(_tailing() if name == GATEWAY else ()),
    ]
    return Permissions(
        publish=tuple(publish),
        subscribe=(f"_INBOX_{name}.>", *_served(name)),
        deny_publish=tuple(_out_of_reach_of(name)) if name == GATEWAY else (),
    )


def _served(name: str) -> Iterator[str]:
    """As one of a group: nobody listens beside the service."""
    if name == _HEARS_ALL_COMMANDS:
        yield f"{subjects.commands()} {name}"
    for exchange in _EXCHANGES:
        if exchange.server == name and name != _HEARS_ALL_COMMANDS:
            yield from (f"{pattern} {name}" for pattern in exchange.patterns)


def _reading(name: str) -> Iterator[str]:
    stream = subjects.EVENT_STREAM
    for queue in QUEUES:
        if queue.reader != name:
            continue
        yield subjects.dead_letter(queue.name)
        for durable in queue.durables:
            yield jetstream_api.consumer_info(stream, durable)
            yield jetstream_api.next_messages(stream, durable)
            yield jetstream_api.acknowledgements(stream, durable)


def _tailing() -> tuple[str, ...]:
    """Consumers of its own, each with a name of its own that nobody knows before."""
    stream, any_name = subjects.EVENT_STREAM, jetstream_api.ANY
    return (
        jetstream_api.create_consumer(stream, any_name),
        jetstream_api.next_messages(stream, any_name),
    )


def _out_of_reach_of(tailer: str) -> Iterator[str]:
    """What its tails could reach otherwise: changing a durable, and emptying another's."""
    for queue in QUEUES:
        for durable in queue.durables:
            yield jetstream_api.create_consumer(subjects.EVENT_STREAM, durable)
            if queue.reader != tailer:
                yield jetstream_api.next_messages(subjects.EVENT_STREAM, durable)


def _provisioning() -> Iterator[str]:
    for stream in STREAMS:
        yield jetstream_api.create_stream(stream)
        yield jetstream_api.update_stream(stream)
        yield jetstream_api.stream_info(stream)
        yield jetstream_api.purge_stream(stream)
        yield jetstream_api.delete_stream(stream)
    for queue in QUEUES:
        for durable in queue.durables:
            yield jetstream_api.create_consumer(subjects.EVENT_STREAM, durable)
            yield jetstream_api.consumer_info(subjects.EVENT_STREAM, durable)
            yield jetstream_api.delete_consumer(subjects.EVENT_STREAM, durable)
