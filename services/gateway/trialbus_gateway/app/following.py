"""An experiment's events out of the stream, for people and web pages."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from urllib.parse import unquote

from trialbus.contracts import subjects
from trialbus.contracts.envelope import decode_event
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment
from trialbus.ports.bus import Tail
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.streams import with_pauses

HEARTBEAT_S = 15.0
# How many events are stored is known. This long without one although the bus is there, and the rest
# of them was lost.
QUIET_S = 10.0

CloudEvent = dict[str, Any]


class _UnknownEventError(Exception):
    """The stream does not have the event that was to be gone on from."""


class Following:
    def __init__(
        self, parts: Parts, *, heartbeat_s: float = HEARTBEAT_S, quiet_s: float = QUIET_S
    ) -> None:
        self._parts = parts
        self._heartbeat_s = heartbeat_s
        self._quiet_s = quiet_s

    async def events(
        self, state: Experiment, *, follow: bool, after: str = ""
    ) -> AsyncGenerator[CloudEvent | None, None]:
        """Those of this very experiment, oldest first; None: still there, nothing new.

        The first item is None and comes when the stream is open. Without `follow` it ends after
        what was there when it was asked for. after: id of the last event that the asker has; if the
        stream does not have it, all come again. Raises Transient: before the first item, and amid a
        list that would else end without the rest.
        """
        async with aclosing(self._events(state, follow=follow, after=after)) as events:
            is_known = True
            try:
                async for event in events:
                    yield event
            except _UnknownEventError:
                is_known = False
        if is_known:
            return
        async with aclosing(self._events(state, follow=follow, after="")) as events:
            async for event in events:
                yield event

    async def _events(
        self, state: Experiment, *, follow: bool, after: str
    ) -> AsyncGenerator[CloudEvent | None, None]:
        """Raises _UnknownEventError when all that is stored has come and `after` was not there."""
        asked_at = self._parts.clock.now()
        pause_s = self._heartbeat_s if follow else self._quiet_s
        subject = subjects.events(namespace=state.namespace, experiment=state.name)
        async with AsyncExitStack() as stack:
            tail = await stack.enter_async_context(self._parts.bus.tail(subject, from_start=True))
            paused = await stack.enter_async_context(aclosing(_with_ends(tail, pause_s)))
            yield None
            async for message in paused:
                if message is None:
                    if not (follow or self._parts.bus.connected):
                        raise Transient("the bus is away amid the stored events")
                    if after:
                        raise _UnknownEventError
                    if not follow:
                        return
                    yield None
                    continue
                event = self._of(state, message)
                if event is None:
                    continue
                if after:
                    if event.id != after and event.at > asked_at:
                        raise _UnknownEventError
                    after = "" if event.id == after else after
                    continue
                if not follow and event.at > asked_at:
                    return
                yield structured(message, event)
                if event.type == "experiment.deleted":
                    return

    def _of(self, state: Experiment, message: Message) -> Event | None:
        try:
            event = decode_event(message)
        except Poison as error:
            self._parts.telemetry.log.warning(
                "unreadable event left out", subject=message.subject, error=str(error)
            )
            return None
        return event if event.uid == state.id else None


async def _with_ends(tail: Tail, pause_s: float) -> AsyncGenerator[Message | None, None]:
    """Every message; None when all that was stored has come, and whenever `pause_s` went by
    without one."""
    left = tail.stored
    async with aclosing(with_pauses(tail, pause_s)) as paused:
        if left == 0:
            yield None
        async for message in paused:
            yield message
            if message is not None:
                left -= 1
                if left == 0:
                    yield None


def structured(message: Message, event: Event) -> CloudEvent:
    """CloudEvents 1.0, structured mode: the attributes beside the data."""
    headers = {name.lower(): unquote(value) for name, value in message.headers.items()}
    attributes = {
        name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")
    }
    if event.traceparent is not None:
        attributes["traceparent"] = event.traceparent
    return {
        **attributes,
        "datacontenttype": "application/json",
        "data": json.loads(message.data),
    }
