"""Who may call what of Katib's gRPC services at the gateway's port."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.grpc import full_name, handlers_of, open_channel, serve_announced
from trialbus.adapters.grpc.handlers import descriptor_of, reply_type, request_type
from trialbus.runtime import metrics
from trialbus.runtime.call_metrics import grpc_observer
from trialbus.testkit.access_world import AccessWorld, access_world
from trialbus.testkit.told_metrics import series, told
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.access.katib_calls import CALL_NEEDS
from trialbus_gateway.adapters.grpc_forwarding import serving_gateway
from trialbus_gateway.app.guarded_ports import guarded
from trialbus_gateway.app.port_metrics import refusals_of
from trialbus_gateway.app.working import Working

OWNERS = {
    "DBManager": "metrics_collector",
    "Suggestion": "suggestion",
    "EarlyStopping": "early_stopping",
}
METHODS = [
    (service, method) for service in OWNERS for method in descriptor_of(service).methods_by_name
]
ABOUT_A_TRIAL = {
    "ReportObservationLog",
    "GetObservationLog",
    "DeleteObservationLog",
    "SetTrialStatus",
}


@dataclass
class Calls:
    channel: grpc.aio.Channel
    access: AccessWorld
    reached: list[str] = field(default_factory=list)

    async def __call__(self, token: str | None, service: str, method: str, trial: str) -> str:
        """The name of the status."""
        described = descriptor_of(service).methods_by_name[method]
        named = {"trial_name": trial} if method in ABOUT_A_TRIAL else {}
        request = request_type(described)(**named)
        call = self.channel.unary_unary(
            f"/{full_name(service)}/{method}",
            request_serializer=lambda it: it.SerializeToString(),
            response_deserializer=reply_type(described).FromString,
        )
        shown = [] if token is None else [("authorization", f"Bearer {token}")]
        try:
            await call(request, metadata=shown, timeout=10)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"


async def _announced(stack: AsyncExitStack, calls: list[str], service: str, folder: Path) -> None:
    methods = descriptor_of(service).methods_by_name

    def answering(method: str) -> Any:
        async def answer(_request: Any) -> Message:
            calls.append(method)
            reply: Message = reply_type(methods[method])()
            return reply

        return answer

    handlers = handlers_of(service, {name: answering(name) for name in methods})
    serving = asyncio.create_task(
        serve_announced(
            OWNERS[service],
            [handlers],
            ready=lambda: True,
            host="127.0.0.1",
            port=0,
            data_dir=folder,
        )
    )
    stack.callback(serving.cancel)


@asynccontextmanager
async def serving_calls(folder: Path, **limits: Any) -> AsyncIterator[Calls]:
    async with access_world(folder, **limits) as access, AsyncExitStack() as stack:
        reached: list[str] = []
        for service in OWNERS:
            await _announced(stack, reached, service, folder)
        parts = guarded(access.world.parts)
        access.door.on_refusal = refusals_of(parts.telemetry)
        port = await stack.enter_async_context(
            serving_gateway(
                lambda: True,
                Working(parts, deadline_s=0.3, attempt_s=0.1),
                access.door,
                find_trial=access.find_trial,
                host="127.0.0.1",
                port=0,
                data_dir=folder,
                given={},
                observe=grpc_observer(parts.telemetry),
            )
        )
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{port}"))
        yield Calls(channel, access, reached)


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Calls]:
    async with serving_calls(tmp_path) as made:
        yield made


async def outcomes(
    calls: Calls, token: str | None, trial: str, methods: Sequence[tuple[str, str]] = METHODS
) -> dict[str, str]:
    return {method: await calls(token, service, method, trial) for service, method in methods}


def test_every_method_of_katib_says_what_it_needs() -> None:
    assert {f"{service}/{method}" for service, method in METHODS} == set(CALL_NEEDS)


async def test_nobody_calls_without_a_good_token(calls: Calls) -> None:
    access, trial = calls.access, calls.access.ours[1].name
    bad = {
        "none": None,
        "unknown": "tbs_nobody",
        "expired": access.tokens["expired"],
        "alg none": access.issuer.unsigned(),
        "HS256": access.issuer.with_the_public_key(),
        "wrong audience": access.issuer.token(aud="another"),
        "forged trial": access.trial_token(key=b"f" * 64),
    }
    for who, token in bad.items():
        found = await outcomes(calls, token, trial)
        assert set(found.values()) == {"UNAUTHENTICATED"}, who
    assert calls.reached == []


async def test_what_each_role_may_call(calls: Calls) -> None:
    access, trial = calls.access, calls.access.ours[1].name
    every, of_trials = {method for _, method in METHODS}, ABOUT_A_TRIAL - {"DeleteObservationLog"}
    allowed = {
        access.tokens["admin"]: every,
        access.tokens["writer"]: every,
        access.tokens["worker"]: every,
        access.issuer.token(): every,
        access.tokens["reader"]: set[str](),
        access.trial_token(): of_trials,
    }
    for token, methods in allowed.items():
        found = await outcomes(calls, token, trial)
        wanted = {it: "OK" if it in methods else "PERMISSION_DENIED" for it in every}
        assert found == wanted, token[:12]


async def test_trials_of_others_are_not_there(calls: Calls) -> None:
    access, theirs = calls.access, calls.access.theirs[1].name
    about = [(service, method) for service, method in METHODS if method in ABOUT_A_TRIAL]
    ours = [access.tokens[it] for it in ("reader", "writer", "worker")]
    for token in (*ours, access.issuer.token(), "sa-good", access.trial_token()):
        for trial in (theirs, "tune-zzzzzzzz", "", "../x"):
            found = await outcomes(calls, token, trial, about)
            assert set(found.values()) <= {"NOT_FOUND", "INVALID_ARGUMENT"}, (token[:12], trial)
    assert calls.reached == []


async def test_a_trials_token_ends_with_its_attempt(calls: Calls) -> None:
    token, trial = calls.access.trial_token(), calls.access.ours[1].name
    assert await calls(token, "DBManager", "ReportObservationLog", trial) == "OK"
    await calls.access.end_our_run()
    assert await calls(token, "DBManager", "ReportObservationLog", trial) == "UNAUTHENTICATED"


async def test_too_many_calls_are_told_to_wait(tmp_path: Path) -> None:
    async with serving_calls(tmp_path, rate=1) as calls:
        token, trial = calls.access.tokens["worker"], calls.access.ours[1].name
        found = [await calls(token, "DBManager", "GetObservationLog", trial) for _ in range(4)]
        assert found[:2] == ["OK", "OK"]
        assert "RESOURCE_EXHAUSTED" in found


async def test_calls_are_counted_and_so_is_who_was_not_let_in(tmp_path: Path) -> None:
    async with serving_calls(tmp_path, rate=2) as calls:
        telemetry, tokens = calls.access.world.parts.telemetry, calls.access.tokens
        trial = calls.access.ours[1].name

        async def ask(token: str | None, count: int = 1) -> list[str]:
            return [
                await calls(token, "DBManager", "ReportObservationLog", trial) for _ in range(count)
            ]

        found = [*await ask("unknown", 2), *await ask(tokens["reader"]), *await ask(None)]
        found += await ask(tokens["worker"], 8)
        assert {"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "OK"} == set(found)
        reasons = {
            "unauthenticated": found.count("UNAUTHENTICATED"),
            "forbidden": found.count("PERMISSION_DENIED"),
            "rate": found.count("RESOURCE_EXHAUSTED"),
            "size": 0,
        }
        for reason, count in reasons.items():
            assert told(telemetry, metrics.DOOR_REFUSALS, reason=reason) == count, reason
        method = "DBManager/ReportObservationLog"
        for code in set(found):
            assert told(telemetry, metrics.GRPC, method=method, code=code) == found.count(code)
        # What is not Katib's at all.
        for unknown in ("/api.v1.beta1.DBManager/Wrong", "/api.v1.beta1.Other/Get", "/x/y"):
            with pytest.raises(grpc.aio.AioRpcError):
                await calls.channel.unary_unary(unknown)(b"", timeout=10)
        assert told(telemetry, metrics.GRPC, method="unmatched") == 3
        assert {it.labels["method"] for it in series(telemetry, metrics.GRPC)} == {
            method,
            "unmatched",
        }


async def test_probes_need_no_token(calls: Calls) -> None:
    health = health_pb2_grpc.HealthStub(calls.channel)

    async def serving() -> bool:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=""))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    await until(serving, "health says SERVING")
