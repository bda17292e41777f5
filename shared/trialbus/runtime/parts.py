"""What a service is given, and what it gives back: the two halves of a composition root."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trialbus.ports.bus import Bus, Responder
from trialbus.ports.clock import Clock, Ids
from trialbus.ports.store import CollectionSpec, Store
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What an experiment needs takes so long that it is done beside the rest of its group. The
    experiment stays in hand, and its messages are answered, when `work` is over; committed, unless
    it raises."""

    work: Callable[[], Awaitable[None]]


# Handles the experiments with these uids; returns those that failed, with why, and those that go on
# beside the others. What it returns without is committed.
React = Callable[[Sequence[str]], Awaitable[Mapping[str, Exception | Beside]]]
# The uids that may need attention although no message says so.
Sweep = Callable[[], Awaitable[Sequence[str]]]


class Nudge:
    """Asks the service's own hint loop to look at experiments without a message: soon, or after so
    many seconds."""

    def __init__(self) -> None:
        self.target: Callable[[Sequence[str], float], None] | None = None

    def __call__(self, uids: Sequence[str], *, after_s: float = 0.0) -> None:
        if self.target is not None:
            self.target(uids, after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The world of a service, behind ports. serves_grpc: whether it opens its gRPC port, which it
    does in a process of its own only."""

    bus: Bus
    store: Store
    clock: Clock
    ids: Ids
    settings: Settings
    outbox: Outbox
    telemetry: Telemetry
    nudge: Nudge = field(default_factory=Nudge)
    serves_grpc: bool = False


def _at_once(_uid: str) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactor:
    """Level-triggered handling of hints. max_groups: how many groups (of different
    experiments) may be in hand at once; one is best where groups make commits cheap. rest_s: how
    long an experiment that was looked at may wait for the next look, so that what comes meanwhile
    is looked at together."""

    listens: tuple[str, ...]
    react: React
    sweep: Sweep
    max_groups: int = 1
    max_group_keys: int = 256
    rest_s: Callable[[str], float] = _at_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Requests that a service answers, in groups, after the commit. max_groups: how many groups
    may be in hand at once; one is best where groups make commits cheap. gather_s: see
    `Bus.serve`."""

    subject: str
    queue: str
    respond: Responder
    max_group: int = 256
    max_groups: int = 1
    gather_s: float = 0.0


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a service does: react, answer, and work of its own until it is cancelled. host: of a
    trial launcher, whose runs it follows."""

    reactor: Reactor | None = None
    served: tuple[Served, ...] = ()
    tasks: tuple[Callable[[], Awaitable[None]], ...] = ()
    close: Callable[[], Awaitable[None]] = _nothing
    host: str = ""


def _nothing_refused(_settings: Settings) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDefinition:
    """One service: what it owns in the store, and how it is put together. loads: modules worth
    importing before the service's process is forked. check: raises for settings that the service
    must not start with, before any server is asked for."""

    name: str
    owns: tuple[CollectionSpec, ...]
    build: Callable[[Parts], Awaitable[Behaviour]]
    loads: tuple[str, ...] = field(default=())
    check: Callable[[Settings], None] = _nothing_refused
