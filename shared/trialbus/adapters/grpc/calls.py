"""Calling a server that speaks Katib, by the names of its service and method."""

from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from trialbus.adapters.grpc.handlers import descriptor_of, full_name, reply_type
from trialbus.kernel.errors import NotNow, NotThere, Problem, Refused, TooLarge, Transient

# A server that comes back is found soon; by itself gRPC waits up to two minutes between two looks.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels to one address do not share the fate of one connection.
    ("grpc.use_local_subchannel_pool", 1),
)


class CallFailed(Exception):
    """Another answer than those that say what to do: its status and its details."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        self.details = details
        super().__init__(f"{code.name}: {details}")


def open_channel(address: str) -> grpc.aio.Channel:
    """`host:port`, without encryption, as Katib does. It connects when it is used; close it."""
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


async def call(
    channel: grpc.aio.Channel, service: str, method: str, request: Message, *, timeout_s: float
) -> Any:
    """The reply's message.

    Raises Transient (away, or no answer in time), Refused, NotNow, NotThere, TooLarge as the server
    said, and CallFailed for any other status (UNIMPLEMENTED: it does not have this method).
    """
    described = descriptor_of(service).methods_by_name[method]
    ask = channel.unary_unary(
        f"/{full_name(service)}/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=reply_type(described).FromString,
    )
    try:
        return await ask(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise _error_of(error) from error


def _error_of(error: grpc.aio.AioRpcError) -> Exception:
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return Transient(details or error.code().name)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
            return Refused([Problem(field="", message=details)])
        case grpc.StatusCode.FAILED_PRECONDITION:
            return NotNow([Problem(field="", message=details)])
        case grpc.StatusCode.NOT_FOUND:
            return NotThere(details)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge(details)
        case code:
            return CallFailed(code, details)
