"""Pushes over the bus, for pipelines: `trialbus.v1.push.<namespace>.<experiment>.<trial>`."""

import asyncio
from collections.abc import Sequence

from trialbus.contracts import subjects
from trialbus.contracts.chunks import PushReply, PushReport
from trialbus.kernel.errors import NotThere, Poison, Refused, TooLarge, Transient
from trialbus.ports.bus import Request
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.pushes import Addressed, Point, Pushes


class PushRequests:
    def __init__(self, parts: Parts, pushes: Pushes) -> None:
        self._parts = parts
        self._pushes = pushes

    async def respond(self, requests: Sequence[Request]) -> list[bytes]:
        """The answers, in order; each push succeeds or fails alone."""
        replies = await asyncio.gather(*(self._answer(request) for request in requests))
        return [reply.to_bytes() for reply in replies]

    async def _answer(self, request: Request) -> PushReply:
        try:
            await self._push(request)
        except Poison as poison:
            self._parts.telemetry.add(metrics.DEAD_LETTERS)
            self._pushes.counting.refused("invalid", 0)
            self._parts.telemetry.log.warning(
                "unreadable push", subject=request.subject, reason=str(poison)
            )
            return PushReply(accepted=False, refused=str(poison))
        except (Refused, NotThere, TooLarge) as error:
            return PushReply(accepted=False, refused=str(error))
        except Transient as error:
            self._parts.telemetry.log.warning("push not stored", error=str(error))
            return PushReply(accepted=False)
        return PushReply(accepted=True)

    async def _push(self, request: Request) -> None:
        try:
            to = subjects.parse_push(request.subject)
        except ValueError as error:
            raise Poison(str(error)) from error
        said = PushReport.from_bytes(request.data)
        addressed = Addressed(
            trial=to.trial,
            namespace=to.namespace,
            experiment=to.experiment,
            attempt=said.attempt,
            uid=said.uid,
        )
        points = [Point(metric=it.metric, value=it.value, at=it.at) for it in said.points]
        await self._pushes.push(addressed, points, push_id=said.id)
