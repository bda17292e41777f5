"""The durable queues over the event stream: what each hears, and which service reads it."""

from dataclasses import dataclass

from trialbus.contracts import subjects
from trialbus.kernel import limits
from trialbus.kernel.events import EVENT_TYPES, PUBLIC_TYPES, heard_by

# Where the gateway takes what it posts to webhooks.
WEBHOOK_QUEUE = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """name: as its durables and dead letters are called. reader: the service that reads it."""

    name: str
    reader: str
    event_types: tuple[str, ...]

    @property
    def durables(self) -> tuple[str, ...]:
        """One for each partition."""
        return tuple(subjects.durable(self.name, number) for number in range(limits.PARTITIONS))


def _of_services() -> tuple[Queue, ...]:
    heard = {name: heard_by(name) for it in EVENT_TYPES.values() for name in it.consumers}
    return tuple(Queue(name=name, reader=name, event_types=heard[name]) for name in sorted(heard))


QUEUES = (
    *_of_services(),
    Queue(name=WEBHOOK_QUEUE, reader="gateway", event_types=PUBLIC_TYPES),
)
