"""The shared gRPC server and its calls, over real sockets on the loopback."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.grpc import (
    CallFailed,
    announced,
    announcing,
    call,
    full_name,
    handlers_of,
    open_channel,
    serve_announced,
    serving_grpc,
)
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import NotNow, NotThere, Problem, Refused, TooLarge, Transient
from trialbus.testkit.waits import until

Answer = Callable[[Any], Awaitable[Message]]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def nothing(_request: Any) -> Message:
    return api_pb2.DeleteObservationLogReply()


@asynccontextmanager
async def served(
    report: Answer = nothing, *, ready: Callable[[], bool] = lambda: True
) -> AsyncIterator[grpc.aio.Channel]:
    """A DBManager whose report is answered so."""
    handlers = handlers_of(
        "DBManager",
        {
            "ReportObservationLog": report,
            "GetObservationLog": nothing,
            "DeleteObservationLog": nothing,
        },
    )
    names = [full_name("DBManager")]
    async with (
        serving_grpc([handlers], ready=ready, host="127.0.0.1", port=0, names=names) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


async def report(channel: grpc.aio.Channel, name: str = "t", timeout_s: float = 10.0) -> Any:
    request = api_pb2.ReportObservationLogRequest(trial_name=name)
    return await call(channel, "DBManager", "ReportObservationLog", request, timeout_s=timeout_s)


def failing(error: Exception) -> Answer:
    async def respond(_request: Any) -> Message:
        raise error

    return respond


async def test_a_call_carries_the_request_there_and_the_reply_back() -> None:
    heard = []

    async def respond(request: Any) -> Message:
        heard.append(request.trial_name)
        return api_pb2.ReportObservationLogReply()

    async with served(respond) as channel:
        reply = await report(channel, "e-abc")
    assert heard == ["e-abc"]
    assert isinstance(reply, api_pb2.ReportObservationLogReply)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused([Problem(field="a", message="no")]), grpc.StatusCode.INVALID_ARGUMENT),
        (NotNow([Problem(field="a", message="no")]), grpc.StatusCode.FAILED_PRECONDITION),
        (NotThere("a"), grpc.StatusCode.NOT_FOUND),
        (TooLarge("a"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Transient("a"), grpc.StatusCode.UNAVAILABLE),
        (ZeroDivisionError("secret"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_each_error_has_its_status(error: Exception, code: grpc.StatusCode) -> None:
    async with served(failing(error)) as channel:
        ask = channel.unary_unary(f"/{full_name('DBManager')}/ReportObservationLog")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ask(b"")
    assert failed.value.code() is code
    assert "secret" not in (failed.value.details() or "")


@pytest.mark.parametrize(
    "error",
    [
        Refused([Problem(field="a", message="one"), Problem(field="b", message="two")]),
        NotNow([Problem(field="a", message="one")]),
        NotThere("nobody"),
        TooLarge("much"),
    ],
)
async def test_an_error_comes_out_of_a_call_as_it_was_raised(error: Exception) -> None:
    async with served(failing(error)) as channel:
        with pytest.raises(type(error)) as failed:
            await report(channel)
    assert type(failed.value) is type(error)
    assert str(failed.value) == str(error)


async def test_a_very_long_list_of_problems_still_arrives() -> None:
    problems = [Problem(field=f"f{number}", message="é" * 200) for number in range(100)]
    async with served(failing(Refused(problems))) as channel:
        with pytest.raises(Refused) as failed:
            await report(channel)
    assert str(failed.value).startswith("f0: é")
    assert str(failed.value).endswith(" ...")


async def test_an_unknown_method_fails_as_unimplemented() -> None:
    async with served() as channel:
        with pytest.raises(CallFailed) as failed:
            request = api_pb2.SetTrialStatusRequest(trial_name="t")
            await call(channel, "EarlyStopping", "SetTrialStatus", request, timeout_s=10)
    assert failed.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_to_nobody_and_one_without_an_answer_are_transient() -> None:
    async def never(_request: Any) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(never) as channel:
        with pytest.raises(Transient):
            await report(channel, timeout_s=0.05)
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Transient):
            await report(channel)


def test_handlers_must_be_those_of_the_service() -> None:
    with pytest.raises(ValueError, match="DBManager has"):
        handlers_of("DBManager", {"ReportObservationLog": nothing})


async def test_health_follows_readiness_under_every_name() -> None:
    ready = [True]
    async with served(ready=lambda: ready[0]) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check

        async def statuses() -> set[int]:
            names = ("", "grpc.health.v1.Health", "api.v1.beta1.DBManager")
            said = [await check(health_pb2.HealthCheckRequest(service=name)) for name in names]
            return {it.status for it in said}

        assert await statuses() == {SERVING}
        ready[0] = False

        async def says_so() -> bool:
            return await statuses() == {NOT_SERVING}

        await until(says_so, "the health service says that it is not ready")


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with serving_grpc([], ready=lambda: True, host="127.0.0.1", port=0) as port:
        with pytest.raises(OSError, match="cannot listen"):
            async with serving_grpc([], ready=lambda: True, host="127.0.0.1", port=port):
                pass


async def test_a_service_is_announced_while_it_listens(tmp_path: Path) -> None:
    serving = asyncio.create_task(
        serve_announced("a", [], ready=lambda: True, host="127.0.0.1", port=0, data_dir=tmp_path)
    )
    await until(lambda: announced(tmp_path, "a"), "it is announced")
    address = announced(tmp_path, "a")
    assert address is not None
    async with open_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10)
    serving.cancel()
    await asyncio.wait([serving])
    assert announced(tmp_path, "a") is None


def test_what_the_dead_have_announced_is_not_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with announcing(tmp_path, "a", host="::1", port=1):
        assert announced(tmp_path, "a") == "[::1]:1"
        path = tmp_path / "run" / "a.grpc.json"
        path.write_text(json.dumps({"grpc": "[::1]:1", "pid": ended.pid}))
        assert announced(tmp_path, "a") is None
        path.write_text("not JSON")
        assert announced(tmp_path, "a") is None


def test_who_leaves_takes_no_other_replicas_word(tmp_path: Path) -> None:
    with announcing(tmp_path, "a", host="127.0.0.1", port=1):
        other = announcing(tmp_path, "a", host="127.0.0.1", port=2)
        other.__enter__()
    assert announced(tmp_path, "a") == "127.0.0.1:2"
    other.__exit__(None, None, None)
    assert announced(tmp_path, "a") is None
