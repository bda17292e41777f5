"""What a gRPC port tells of its calls: each once, in few series."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from trialbus.adapters.grpc import call, handlers_of, open_channel, serving_grpc
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import NotNow, NotThere, Problem, Refused, TooLarge, Transient
from trialbus.runtime import metrics
from trialbus.runtime.call_metrics import grpc_observer
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.told_metrics import series, told, told_seconds
from trialbus.testkit.waits import until

METHOD = "DBManager/ReportObservationLog"
ERRORS = {
    "FAILED_PRECONDITION": NotNow([Problem(field="", message="no")]),
    "INVALID_ARGUMENT": Refused([Problem(field="", message="no")]),
    "NOT_FOUND": NotThere("no"),
    "RESOURCE_EXHAUSTED": TooLarge("no"),
    "UNAVAILABLE": Transient("no"),
    "INTERNAL": RuntimeError("no"),
}


@asynccontextmanager
async def served(telemetry: Telemetry) -> AsyncIterator[grpc.aio.Channel]:
    """Its report fails as the trial's name says, or waits for ever."""

    async def report(request: Any) -> Message:
        if request.trial_name == "waits":
            await asyncio.Event().wait()
        if request.trial_name in ERRORS:
            raise ERRORS[request.trial_name]
        return api_pb2.ReportObservationLogReply()

    async def get(_request: Any) -> Message:
        return api_pb2.GetObservationLogReply()

    async def delete(_request: Any) -> Message:
        return api_pb2.DeleteObservationLogReply()

    responds = {
        "ReportObservationLog": report,
        "GetObservationLog": get,
        "DeleteObservationLog": delete,
    }
    handlers = [handlers_of("DBManager", responds)]
    observe = grpc_observer(telemetry)
    async with (
        serving_grpc(
            handlers, ready=lambda: True, host="127.0.0.1", port=0, observe=observe
        ) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


async def report(channel: grpc.aio.Channel, trial: str, timeout_s: float = 10.0) -> None:
    request = api_pb2.ReportObservationLogRequest(trial_name=trial)
    await call(channel, "DBManager", "ReportObservationLog", request, timeout_s=timeout_s)


async def test_each_call_is_told_by_its_method_and_status() -> None:
    telemetry = Telemetry("metrics_collector")
    async with served(telemetry) as channel:
        await report(channel, "fine")
        await report(channel, "fine")
        for name in ERRORS:
            with pytest.raises(Exception):  # noqa: B017 - each its own
                await report(channel, name)
        # A call is told when it is over, which is after its answer was sent.
        await until(lambda: told(telemetry, metrics.GRPC) == 2 + len(ERRORS), "all are told")
        assert told(telemetry, metrics.GRPC, method=METHOD, code="OK") == 2
        for name in ERRORS:
            assert told(telemetry, metrics.GRPC, method=METHOD, code=name) == 1, name
        assert 0 < told_seconds(telemetry, metrics.GRPC) < 10


async def test_a_call_that_nobody_waits_for_any_more_is_told_as_cancelled() -> None:
    telemetry = Telemetry("metrics_collector")
    async with served(telemetry) as channel:
        await report(channel, "fine")  # so that they are connected
        with pytest.raises(Transient):
            await report(channel, "waits", timeout_s=0.5)
        await until(lambda: told(telemetry, metrics.GRPC, code="CANCELLED") == 1, "it is told")


async def test_unknown_methods_are_one_series() -> None:
    telemetry = Telemetry("metrics_collector")
    async with served(telemetry) as channel:
        for number in range(30):
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(f"/api.v1.beta1.DBManager/M{number}")(b"", timeout=10)
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(f"/any.S{number}/Get")(b"", timeout=10)
        await until(lambda: told(telemetry, metrics.GRPC) == 60, "all are told")
    assert [it.labels for it in series(telemetry, metrics.GRPC)] == [
        {"method": "unmatched", "code": "UNIMPLEMENTED"}
    ]
