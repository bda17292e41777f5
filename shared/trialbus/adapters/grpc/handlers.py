"""Katib's services and our own from their descriptors: no generated service code, no second list of
methods."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from trialbus.adapters.grpc.failures import Failure, failure_of, fit
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.contracts.stubs import workers_pb2
from trialbus.kernel.errors import NotThere, Refused, TooLarge, Transient

# Metadata of a call: who repeats it, because the answer was lost, gives it the same id.
CALL_ID = "trialbus-call-id"
_Metadata = Sequence[tuple[str, str | bytes]]
_metadata: ContextVar[_Metadata] = ContextVar("metadata", default=())

_INTERFACES = (api_pb2.DESCRIPTOR, workers_pb2.DESCRIPTOR)
# Katib's.
PACKAGE = api_pb2.DESCRIPTOR.package
# Errors that say what the caller is to do.
_TOLD = (Refused, NotThere, TooLarge, Transient)

# One call: the request's message in, the reply's out. Raises the errors of kernel/errors.py.
Respond = Callable[[Any], Awaitable[Message]]


def call_id() -> str | None:
    """Of the call that is being answered, if its client gave it one."""
    given = dict(_metadata.get()).get(CALL_ID)
    return given if isinstance(given, str) else None


def call_metadata(key: str) -> list[str]:
    """Of the call that is being answered: the texts that its client sent under `key`."""
    return [text for name, text in _metadata.get() if name == key and isinstance(text, str)]


def descriptor_of(service: str) -> ServiceDescriptor:
    """Of `DBManager`, `Suggestion`, `EarlyStopping` or `Workers`. KeyError for another."""
    services = [
        it.services_by_name[service] for it in _INTERFACES if service in it.services_by_name
    ]
    if not services:
        raise KeyError(service)
    return services[0]


def full_name(service: str) -> str:
    return str(descriptor_of(service).full_name)


def request_type(method: MethodDescriptor) -> type[Message]:
    return GetMessageClass(method.input_type)


def reply_type(method: MethodDescriptor) -> type[Message]:
    return GetMessageClass(method.output_type)


def handlers_of(
    service: str,
    responds: Mapping[str, Respond],
    told: Mapping[type[Exception], grpc.StatusCode] | None = None,
) -> grpc.GenericRpcHandler:
    """Answers every method of a service; ValueError when one is missing or unknown. told: errors
    beside those of the kernel that are told to the caller."""
    methods = descriptor_of(service).methods_by_name
    if set(methods) != set(responds):
        raise ValueError(f"{service} has {sorted(methods)}, not {sorted(responds)}")
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(f"{service}/{name}", responds[name], told or {}),
            request_deserializer=request_type(method).FromString,
            response_serializer=reply_type(method).SerializeToString,
        )
        for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(full_name(service), handlers)


def _guarded(
    method: str, respond: Respond, told: Mapping[type[Exception], grpc.StatusCode]
) -> Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]]:
    async def answer(request: Message, context: grpc.aio.ServicerContext) -> Message:
        # Every call has a context of its own.
        _metadata.set(tuple(context.invocation_metadata() or ()))
        try:
            return await respond(request)
        except _TOLD as error:
            failure = failure_of(error)
        except Exception as error:  # noqa: BLE001 - logged here, once; the client hears of it
            if type(error) in told:
                failure = Failure(code=told[type(error)], details=fit(str(error)))
            else:
                structlog.get_logger().exception("call failed", method=method)
                failure = failure_of(error)
        await context.abort(failure.code, failure.details)
        raise AssertionError("abort raises")

    return answer
