"""The span of every call of a gRPC port: part of the caller's trace, or the first of one."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from trialbus.contracts.envelope import TRACEPARENT
from trialbus.kernel.traces import TraceContext, parse_traceparent
from trialbus.ports.tracing import SpanKind, Tracing

_Respond = Callable[[Any, Any], Awaitable[Any]]
# Asked every few seconds by what watches the process: nobody looks for these.
_HEALTH = "/grpc.health."


class TracedCalls(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Calls with one answer, but those of the health service."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None or method.startswith(_HEALTH):
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._traced(method.removeprefix("/"), handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _traced(self, method: str, respond: _Respond) -> _Respond:
        async def answer(request: Any, context: Any) -> Any:
            parent = _asked_in(context.invocation_metadata())
            attributes = {"rpc.system": "grpc", "rpc.method": method}
            with self._tracing.span(
                method, kind=SpanKind.SERVER, parent=parent, root=True, attributes=attributes
            ):
                return await respond(request, context)

        return answer


def _asked_in(metadata: Any) -> TraceContext | None:
    found = [text for key, text in metadata or () if key == TRACEPARENT]
    return parse_traceparent(found[0]) if len(found) == 1 and isinstance(found[0], str) else None
