"""The JetStream API calls that we need, and what our streams and durables look like.

Without credentials every service makes what it misses. With credentials only the provisioner may:
a service looks, and waits for it.

The event stream keeps by age and size and drops the oldest when full: the store is the truth, so an
event that nobody has read in time costs one sweep, while refusing new events would stop the system.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from trialbus.adapters.nats_bus.connection import Connection
from trialbus.contracts import jetstream_api, subjects
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Backlog

API_TIMEOUT_S = 5.0

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
CONSUMER_EXISTS = 10148
_NANOSECONDS = 1_000_000_000

log = structlog.get_logger(__name__)

Config = dict[str, Any]
# Makes the streams, or looks for them, when one turns out to be missing. May raise Transient.
Provision = Callable[[], Awaitable[None]]


class ApiError(Transient):
    """JetStream refused a call: full, starting, or a configuration that it does not take."""

    def __init__(self, call: str, error: Mapping[str, Any]) -> None:
        self.code = error.get("err_code")
        super().__init__(f"{call}: {error.get('description')} ({self.code})")


class NotProvisioned(Transient):
    """A stream or durable is missing, and this identity may not make it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no {what}: `trialbus provision` makes it")


async def call_api(
    connection: Connection, subject: str, body: Mapping[str, Any] | None = None
) -> Any:
    """The decoded answer. Raises ApiError, Transient."""
    data = b"" if body is None else json.dumps(body).encode()
    answer = await connection.request(subject, data, timeout_s=API_TIMEOUT_S)
    decoded = json.loads(answer.data)
    if "error" in decoded:
        raise ApiError(subject, decoded["error"])
    return decoded


def nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)


def stream_configs(*, replicas: int, event_stream_bytes: int) -> Sequence[Config]:
    common = {"retention": "limits", "storage": "file", "discard": "old", "num_replicas": replicas}
    sizes = {"max_msg_size": limits.MAX_PAYLOAD_BYTES + limits.MAX_HEADER_BYTES}
    window = {"duplicate_window": nanoseconds(limits.DEDUPLICATION_WINDOW_S)}
    events = {
        "name": subjects.EVENT_STREAM,
        "subjects": [subjects.EVENT_STREAM_SUBJECT],
        "max_age": nanoseconds(limits.EVENT_RETENTION_S),
        "max_bytes": event_stream_bytes,
        "subject_transform": {
            "src": subjects.EVENT_STREAM_SUBJECT,
            "dest": subjects.STORED_SUBJECT_TEMPLATE,
        },
    }
    dead_letters = {
        "name": subjects.DEAD_LETTER_STREAM,
        "subjects": [subjects.DEAD_LETTER_STREAM_SUBJECT],
        "max_age": nanoseconds(limits.DEAD_LETTER_RETENTION_S),
        "max_bytes": limits.DEAD_LETTER_STREAM_BYTES,
    }
    # A dead letter carries the original's headers and its own.
    return [
        common | window | sizes | events,
        common | window | {"max_msg_size": sizes["max_msg_size"] * 2} | dead_letters,
    ]


async def provision_stream(connection: Connection, config: Config) -> None:
    """Create or update one stream. Idempotent. Raises Transient.

    What is there is looked at first: asked to create a stream a second time, nats-server wants room
    for two.
    """
    name = config["name"]
    found = await _stream_config(connection, name)
    if found is None:
        await call_api(connection, jetstream_api.create_stream(name), config)
    elif any(found.get(key) != value for key, value in config.items()):
        await call_api(connection, jetstream_api.update_stream(name), config)


async def check_stream(connection: Connection, name: str) -> None:
    """Raises NotProvisioned, Transient."""
    if await _stream_config(connection, name) is None:
        raise NotProvisioned(f"stream {name}")


async def _stream_config(connection: Connection, name: str) -> Config | None:
    """With the server's own additions; None: there is no such stream. Raises Transient."""
    try:
        info = await call_api(connection, jetstream_api.stream_info(name))
    except ApiError as error:
        if error.code == STREAM_NOT_FOUND:
            return None
        raise
    config: Config = info["config"]
    return config


def durable_config(
    service: str, event_types: Sequence[str], partition: int, *, ack_wait_s: float
) -> Config:
    return {
        "durable_name": subjects.durable(service, partition),
        "filter_subjects": [subjects.stored_filter(partition, it) for it in event_types],
        "ack_policy": "explicit",
        "ack_wait": nanoseconds(ack_wait_s),
        "max_deliver": limits.MAX_DELIVERIES + limits.BURIAL_DELIVERIES,
        "max_ack_pending": limits.MAX_ACK_PENDING,
    }


async def ensure_durable(connection: Connection, wanted: Config, start: Config) -> None:
    """Make the durable as `wanted`; `start` says where a new one begins. Idempotent.

    Where it began cannot be changed later, so an existing one keeps that.
    """
    stream, name = subjects.EVENT_STREAM, wanted["durable_name"]
    try:
        info = await call_api(connection, jetstream_api.consumer_info(stream, name))
    except ApiError as error:
        if error.code != CONSUMER_NOT_FOUND:
            raise
        await _create_consumer(connection, wanted | start, action="create")
        return
    existing = info["config"]
    if _differs(existing, wanted):
        await _create_consumer(connection, existing | wanted, action="update")


async def check_durable(connection: Connection, wanted: Config) -> None:
    """Raises NotProvisioned, Transient. One that differs is used as it is."""
    stream, name = subjects.EVENT_STREAM, wanted["durable_name"]
    try:
        info = await call_api(connection, jetstream_api.consumer_info(stream, name))
    except ApiError as error:
        if error.code not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
            raise
        raise NotProvisioned(f"durable {name} of stream {stream}") from error
    if _differs(info["config"], wanted):
        log.warning("durable_differs", durable=name, remedy="trialbus provision")


async def backlog_of(connection: Connection, durable: str) -> Backlog:
    """What is not there has none: it begins where it is made. Raises Transient."""
    try:
        info = await call_api(
            connection, jetstream_api.consumer_info(subjects.EVENT_STREAM, durable)
        )
    except ApiError as error:
        if error.code not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
            raise
        return Backlog(pending=0, in_hand=0)
    return Backlog(pending=int(info["num_pending"]), in_hand=int(info["num_ack_pending"]))


def _differs(existing: Config, wanted: Config) -> bool:
    return any(existing.get(key) != value for key, value in wanted.items())


async def _create_consumer(connection: Connection, config: Config, *, action: str) -> None:
    stream = subjects.EVENT_STREAM
    try:
        await call_api(
            connection,
            jetstream_api.create_consumer(stream, config["durable_name"]),
            {"stream_name": stream, "config": config, "action": action},
        )
    except ApiError as error:
        # Another replica was faster.
        if error.code != CONSUMER_EXISTS:
            raise
