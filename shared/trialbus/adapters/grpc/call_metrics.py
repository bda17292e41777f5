"""What is seen of every call of a gRPC port, whatever answers it: which method, how, how soon."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2

from trialbus.contracts.katib.stubs import api_pb2
from trialbus.contracts.stubs import workers_pb2

# Of what no service here has.
UNMATCHED = "unmatched"
_Respond = Callable[[Any, Any], Awaitable[Any]]


class CallObserver(Protocol):
    def __call__(self, method: str, code: str, taken_s: float, /) -> None:
        """A call is answered. method: `<service>/<method>`, code: name of the status; both have
        few values, whatever clients send."""


class ObservedCalls(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Calls with one answer; the one that streams (of the health service) is left as it is."""

    def __init__(self, observe: CallObserver) -> None:
        self._observe = observe

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            # gRPC itself says so.
            self._observe(UNMATCHED, grpc.StatusCode.UNIMPLEMENTED.name, 0.0)
            return None
        if handler.unary_unary is None:
            return handler
        method = _METHODS.get(handler_call_details.method, UNMATCHED)
        return grpc.unary_unary_rpc_method_handler(
            self._seen(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _seen(self, method: str, respond: _Respond) -> _Respond:
        async def answer(request: Any, context: Any) -> Any:
            began, code = time.monotonic(), grpc.StatusCode.OK
            try:
                return await respond(request, context)
            except asyncio.CancelledError:
                # Its client has gone, or waits no longer.
                code = grpc.StatusCode.CANCELLED
                raise
            except grpc.aio.AbortError:
                code = _CODES.get(context.code(), grpc.StatusCode.UNKNOWN)
                raise
            except Exception:
                code = grpc.StatusCode.UNKNOWN
                raise
            finally:
                self._observe(method, code.name, time.monotonic() - began)

        return answer


def _methods_of(files: Iterable[FileDescriptor]) -> dict[str, str]:
    return {
        f"/{service.full_name}/{method.name}": f"{service.name}/{method.name}"
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


_METHODS = _methods_of([api_pb2.DESCRIPTOR, workers_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR])
# A context knows its code as a number.
_CODES = {code.value[0]: code for code in grpc.StatusCode} | {it: it for it in grpc.StatusCode}
