"""`kubectl logs`: the output of a trial's newest attempt, or of the one before.

The process is one, so its containers have the same output: that of the trial. Only a custom
metrics collector has one of its own.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.kernel.spec import CollectorKind
from trialbus.kernel.timestamps import rfc3339_seconds
from trialbus_gateway.adapters.bodies import count, flag
from trialbus_gateway.adapters.kubernetes.pod_objects import (
    containers_of,
    custom_collector_of,
    primary_of,
)
from trialbus_gateway.adapters.kubernetes.status_objects import Target, bad_request, not_found
from trialbus_gateway.adapters.streams import text_stream
from trialbus_gateway.app.attempts import Attempt
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.logs import Piece
from trialbus_gateway.app.showing import Showing
from trialbus_gateway.core.log_lines import LineOptions, LogLines

_PATH = "/api/v1/namespaces/{namespace}/pods/{name}/log"
_MAX_TAIL_LINES = 100_000_000
_MAX_LIMIT_BYTES = 999_999_999
_MAX_SINCE_S = 999_999_999


class PodLogs:
    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._clock = showing.clock

    def routes(self) -> list[Route]:
        return [Route(_PATH, self._log, methods=["GET"])]

    async def _log(self, request: Request) -> Response:
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        try:
            attempt = await self._showing.attempts.named(namespace, name)
        except (NotThere, Unreadable):
            raise not_found(Target(resource="pods", name=name, group="")) from None
        container = request.query_params.get("container")
        if container and container not in containers_of(attempt):
            raise bad_request(f"container {container} is not valid for pod {name}")
        follow, previous = flag(request, "follow"), flag(request, "previous")
        pieces = self._showing.logs.pieces(
            attempt.trial,
            follow=follow and not previous,
            tail=count(request, "tailLines", _MAX_TAIL_LINES),
            previous=previous,
            of_collector=bool(container) and container == custom_collector_of(attempt),
        )
        lines = await self._lines_for(attempt, self._options(request), previous=previous)
        try:
            return await text_stream(self._shown(pieces, lines, attempt))
        except NotThere:
            container = container or primary_of(attempt)
            message = f'previous terminated container "{container}" in pod "{name}" not found'
            raise bad_request(message) from None

    def _options(self, request: Request) -> LineOptions:
        since_s = count(request, "sinceSeconds", _MAX_SINCE_S)
        since_text = request.query_params.get("sinceTime")
        if since_s is not None and since_text:
            raise bad_request("only one of sinceTime or sinceSeconds may be provided")
        since_at = None if since_s is None else self._clock.now() - since_s
        if since_text:
            since_at = rfc3339_seconds(since_text)
            if since_at is None:
                raise bad_request(f"sinceTime: not a time of RFC 3339: {since_text[:100]}")
        return LineOptions(
            since_at=since_at,
            timestamps=flag(request, "timestamps"),
            limit_bytes=count(request, "limitBytes", _MAX_LIMIT_BYTES),
        )

    async def _lines_for(
        self, attempt: Attempt, options: LineOptions, *, previous: bool
    ) -> LogLines:
        """Metrics that are read from the output itself tell when it was written."""
        timed = options.timestamps or options.since_at is not None
        reads_output = attempt.collector is CollectorKind.STDOUT and not previous
        if not (timed and reads_output) or attempt.run is None:
            return LogLines(options)
        return LogLines(options, await self._showing.logs.times(attempt.run))

    async def _shown(
        self, pieces: AsyncGenerator[Piece, None], lines: LogLines, attempt: Attempt
    ) -> AsyncGenerator[str, None]:
        """What has no time was there when its run ended at the latest."""
        run = attempt.run
        ended_at = run.finished_at if run is not None and run.ended else attempt.trial.completed_at
        async with aclosing(pieces):
            async for piece in pieces:
                now = self._clock.now() if ended_at is None else ended_at
                yield lines.shown(piece.text, now, piece.begin)
                if lines.full:
                    return
        yield lines.ending(self._clock.now() if ended_at is None else ended_at)
