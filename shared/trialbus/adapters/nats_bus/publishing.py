"""Publishing to the streams: many messages in flight, each repeated until the stream has it."""

import asyncio
import json
import random
import re
from collections.abc import Sequence

from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import NO_RESPONDERS, Connection, status_of
from trialbus.adapters.nats_bus.streams import Provision
from trialbus.contracts import subjects
from trialbus.contracts.envelope import check_size
from trialbus.contracts.messages import Message
from trialbus.kernel import limits
from trialbus.kernel.errors import Poison, Transient

MESSAGE_ID = "Nats-Msg-Id"
FIRST_PAUSE_S, MAX_PAUSE_S = 0.05, 2.0
# The stream's limit; the client's own check speaks of the connection's.
MESSAGE_TOO_LARGE = 10054

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")

# What is still to do, with what went wrong last.
Failures = list[tuple[Message, str]]


class Publisher:
    """`provision` makes the streams; it is called when a stream turns out to be missing."""

    def __init__(
        self,
        connection: Connection,
        provision: Provision,
        *,
        deadline_s: float = limits.PUBLISH_DEADLINE_S,
    ) -> None:
        self._connection = connection
        self._provision = provision
        self._deadline_s = deadline_s

    async def publish(self, messages: Sequence[Message], *, stream: str) -> None:
        """Returns when `stream` has all of them. Raises Transient after the deadline, Poison when
        the server will never take one, ValueError for a subject or header that is not safe."""
        for message in messages:
            _check(message)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s
        pause_s = FIRST_PAUSE_S
        left = list(messages)
        while True:
            failures = await self._publish_once(left, stream, deadline)
            if not failures:
                return
            left = [message for message, _ in failures]
            nap_s = pause_s * random.uniform(0.5, 1.0)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
            if loop.time() + nap_s >= deadline:
                raise Transient(f"{len(left)} of {len(messages)} not published: {failures[0][1]}")
            await asyncio.sleep(nap_s)

    async def _publish_once(
        self, messages: Sequence[Message], stream: str, deadline: float
    ) -> Failures:
        failures: Failures = []
        window = limits.PUBLISH_WINDOW_MESSAGES
        for start in range(0, len(messages), window):
            failures += await self._publish_window(messages[start : start + window], deadline)
            if failures:
                # The rest would fail alike; keep it for after the pause.
                failures += [(it, failures[0][1]) for it in messages[start + window :]]
                break
        if any(reason == NO_RESPONDERS for _, reason in failures):
            await self._provision_quietly(failures, stream)
        return failures

    async def _publish_window(self, messages: Sequence[Message], deadline: float) -> Failures:
        answers: list[asyncio.Future[Msg]] = []
        try:
            for message in messages:
                headers = {**message.headers, MESSAGE_ID: message.id}
                answers.append(
                    await self._connection.ask(message.subject, message.data, headers=headers)
                )
        except Transient as error:
            # Those already sent may have arrived; the same ids make the repeat harmless.
            for answer in answers:
                answer.cancel()
            return [(message, str(error)) for message in messages]
        wait_s = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(answers, timeout=wait_s)
        finally:
            for answer in answers:
                answer.cancel()
        problems = map(_problem_of, answers)
        return [
            (message, problem)
            for message, problem in zip(messages, problems, strict=True)
            if problem is not None
        ]

    async def _provision_quietly(self, failures: Failures, stream: str) -> None:
        try:
            await self._provision()
        except Transient as error:
            failures[0] = (failures[0][0], f"no stream {stream}: {error}")
        else:
            failures[0] = (failures[0][0], f"no stream {stream}")


def _check(message: Message) -> None:
    subjects.literal(message.subject)
    check_size(message.data)
    if not message.id:
        raise ValueError(f"a message on {message.subject} has no id")
    check_headers({**message.headers, MESSAGE_ID: message.id})
    for name in message.headers:
        if name.lower().startswith("nats-"):
            raise ValueError(f"the header {name} is the server's own")


def check_headers(headers: dict[str, str]) -> None:
    """Raises ValueError for a name or value that could end its line and start another."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"unsafe header: {name!r}: {value!r}")


def _problem_of(answer: asyncio.Future[Msg]) -> str | None:
    """Why the message must be sent again; None when the stream has it. Raises Poison."""
    if answer.cancelled():
        return "no answer in time"
    error = answer.exception()
    if error is not None:
        return str(error)
    message = answer.result()
    if status_of(message) == NO_RESPONDERS:
        return NO_RESPONDERS
    acknowledgement = json.loads(message.data)
    refusal = acknowledgement.get("error")
    if refusal is None:
        return None
    reason = f"{refusal.get('description')} ({refusal.get('err_code')})"
    if refusal.get("err_code") == MESSAGE_TOO_LARGE:
        raise Poison(reason)
    return reason
