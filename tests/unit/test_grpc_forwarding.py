"""The gateway's gRPC port: whom a call reaches, how long it may take, how its failure is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.grpc import (
    announced,
    call,
    call_id,
    handlers_of,
    open_channel,
    serve_announced,
)
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import NotThere, Problem, Refused, Transient
from trialbus.runtime.clock import SystemClock
from trialbus.testkit.gateway_world import parts_of
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.waits import until
from trialbus_gateway.adapters import grpc_forwarding
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.grpc_forwarding import serving_gateway
from trialbus_gateway.app.working import Working

Answer = Callable[[Any], Awaitable[Message]]


@asynccontextmanager
async def gateway(folder: Path, **given: str) -> AsyncIterator[grpc.aio.Channel]:
    bus, store = MemoryBus().client("gateway"), MemoryStore().client("gateway")
    working = Working(parts_of(bus, store, "gateway", folder))
    async with (
        serving_gateway(
            lambda: True,
            working,
            Door(SystemClock()),
            host="127.0.0.1",
            port=0,
            data_dir=folder,
            given=given,
        ) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


@asynccontextmanager
async def owner(folder: Path, answer: Answer) -> AsyncIterator[None]:
    """A stopping service that answers so."""
    methods = ("GetEarlyStoppingRules", "SetTrialStatus", "ValidateEarlyStoppingSettings")
    handlers = handlers_of("EarlyStopping", dict.fromkeys(methods, answer))
    serving = asyncio.create_task(
        serve_announced(
            "early_stopping",
            [handlers],
            ready=lambda: True,
            host="127.0.0.1",
            port=0,
            data_dir=folder,
        )
    )
    await until(lambda: announced(folder, "early_stopping"), "it listens")
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def stop(channel: grpc.aio.Channel, *, timeout_s: float = 10.0) -> Any:
    request = api_pb2.SetTrialStatusRequest(trial_name="tune-a")
    return await call(channel, "EarlyStopping", "SetTrialStatus", request, timeout_s=timeout_s)


async def done(_request: Any) -> Message:
    return api_pb2.SetTrialStatusReply()


async def test_a_call_reaches_the_service_that_owns_it_as_it_was(tmp_path: Path) -> None:
    heard = []

    async def answer(request: Any) -> Message:
        heard.append((request.trial_name, call_id()))
        return api_pb2.SetTrialStatusReply()

    async with owner(tmp_path, answer), gateway(tmp_path) as channel:
        await stop(channel)
        await stop(channel)
    assert [name for name, _ in heard] == ["tune-a", "tune-a"]
    assert len({it for _, it in heard} - {None}) == 2, "each call has an id of its own"


@pytest.mark.parametrize(
    "error",
    [
        NotThere("there is no trial 'tune-a'"),
        Refused([Problem(field="a", message="b")]),
        Transient("the store is away"),
    ],
)
async def test_what_the_owner_answers_is_passed_on(tmp_path: Path, error: Exception) -> None:
    calls = []

    async def answer(request: Any) -> Message:
        calls.append(request)
        raise error

    async with owner(tmp_path, answer), gateway(tmp_path) as channel:
        with pytest.raises(type(error), match=str(error)):
            await stop(channel)
    assert len(calls) == 1, "an answer is an answer"


async def test_without_an_owner_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_forwarding, "GRPC_REACH_DEADLINE_S", 0.2)
    async with gateway(tmp_path) as channel:
        with pytest.raises(Transient, match="early_stopping does not listen anywhere"):
            await stop(channel)
    async with gateway(tmp_path, early_stopping="127.0.0.1:1") as channel:
        with pytest.raises(Transient, match=r"early_stopping does not listen at 127\.0\.0\.1:1"):
            await stop(channel)


async def test_a_call_waits_for_its_owner_to_come(tmp_path: Path) -> None:
    async with gateway(tmp_path) as channel:
        waiting = asyncio.create_task(stop(channel))
        async with owner(tmp_path, done):
            await asyncio.wait_for(waiting, 10)


async def test_an_owner_that_came_back_elsewhere_is_found(tmp_path: Path) -> None:
    async with gateway(tmp_path) as channel:
        for _ in range(3):
            async with owner(tmp_path, done):
                await stop(channel)


async def test_a_call_that_is_over_for_its_client_is_over_for_the_owner(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()
    calls = 0

    async def never_again(request: Any) -> Message:
        nonlocal calls
        calls += 1
        if calls == 1:
            return await done(request)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with owner(tmp_path, never_again), gateway(tmp_path) as channel:
        # Connections are made before it has to be quick.
        await stop(channel)
        with pytest.raises(Transient):
            await stop(channel, timeout_s=1.0)
        await asyncio.wait_for(begun.wait(), 10)
        await asyncio.wait_for(cancelled.wait(), 10)


async def test_the_address_in_the_settings_is_used_and_no_other(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(owner(elsewhere, done))
        address = announced(elsewhere, "early_stopping")
        assert address is not None
        channel = await stack.enter_async_context(gateway(tmp_path, early_stopping=address))
        await stop(channel)


async def test_what_nobody_has_is_unimplemented(tmp_path: Path) -> None:
    async with owner(tmp_path, done), gateway(tmp_path) as channel:
        for method in ("/api.v1.beta1.EarlyStopping/Guess", "/api.v1.beta1.Other/Stop"):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(method)(b"", timeout=10)
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_tells_which_owners_are_there(tmp_path: Path) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING

    async with gateway(tmp_path) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check

        async def is_serving(name: str) -> bool:
            said = await check(health_pb2.HealthCheckRequest(service=name))
            return bool(said.status == serving)

        assert await is_serving("")
        assert await is_serving("grpc.health.v1.Health")
        absent = ("api.v1.beta1.EarlyStopping", "manager.v1beta1.Suggestion")
        assert [await is_serving(name) for name in absent] == [False, False]
        async with owner(tmp_path, done):
            await until(lambda: is_serving("api.v1.beta1.EarlyStopping"), "it is there")
            assert not await is_serving("api.v1.beta1.Suggestion")
