"""Workers over gRPC: `trialbus.v1.Workers` on the gateway's port."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.grpc import open_channel
from trialbus.adapters.grpc.handlers import descriptor_of, reply_type
from trialbus.contracts import subjects
from trialbus.contracts.stubs import workers_pb2 as messages
from trialbus.contracts.work import Ask, Reports, Tell, WorkVerb
from trialbus.kernel.access import Role
from trialbus.runtime.clock import SystemClock
from trialbus.testkit.gateway_world import parts_of
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.work_desk import WorkDesk
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.grpc_forwarding import serving_gateway
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.app.guarded_ports import guarded
from trialbus_gateway.app.working import Working
from trialbus_gateway.core.identities import Identity

HELD = messages.HeldTrial(trial="tune-0", attempt=1)
WHERE: Any = {"namespace": "lab", "experiment": "tune"}


class Tokens:
    """`lab` may do anything in the namespace lab; `reader` may only look."""

    def takes(self, token: str) -> bool:
        return True

    async def identify(self, token: str) -> Identity:
        if token not in ("lab", "reader", "other"):
            raise Unauthenticated("the token is not known")
        role = Role.READER if token == "reader" else Role.WORKER
        names = frozenset({"lab"} if token != "other" else {"other"})
        return Identity(name=token, by="test", role=role, namespaces=names)


class Workers:
    """A client of one gateway."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def __call__(self, method: str, request: Message, token: str = "") -> Any:
        described = descriptor_of("Workers").methods_by_name[method]
        ask = self.channel.unary_unary(
            f"/trialbus.v1.Workers/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply_type(described).FromString,
        )
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return await ask(request, timeout=10, metadata=metadata)

    async def fails(
        self, method: str, request: Message, token: str = ""
    ) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(method, request, token)
        return caught.value.code(), caught.value.details() or ""


@pytest.fixture
def door() -> Door:
    return Door(SystemClock())


@pytest.fixture
async def desk() -> WorkDesk:
    return WorkDesk("lab/tune", "default/tune")


@pytest.fixture
async def workers(tmp_path: Path, desk: WorkDesk, door: Door) -> AsyncIterator[Workers]:
    bus, store = MemoryBus(), MemoryStore()
    parts = guarded(parts_of(bus.client("gateway"), store.client("gateway"), "gateway", tmp_path))
    working = Working(parts, deadline_s=0.3, attempt_s=0.1)
    serve = bus.client("launcher").serve
    async with (
        serve(subjects.commands(), "launcher", desk.respond, max_group=64),
        serving_gateway(
            lambda: True, working, door, host="127.0.0.1", port=0, data_dir=tmp_path, given={}
        ) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Workers(channel)


async def test_a_whole_round_of_one_trial(workers: Workers, desk: WorkDesk) -> None:
    ask = messages.Ask(id="a-1", worker="w", count=1, lease=30)
    asked = await workers("Ask", messages.AskRequest(ask=ask, **WHERE))
    [trial] = asked.trials
    assert (trial.trial, trial.attempt, trial.index, trial.lease) == ("tune-0", 1, 0, 30.0)
    assert trial.parameters["lr"].number == 0.25
    assert trial.parameters["layers"].integer == 3
    assert trial.parameters["optimizer"].text == "adam"
    assert (trial.checkpoint, trial.parent) == ("/checkpoints/0", "")
    assert dict(trial.labels) == {"rung": "1"}
    assert (asked.phase, asked.over) == ("Running", False)
    report = messages.Report(
        trial="tune-0", attempt=1, metrics={"loss": math.nan, "best": math.inf}, step=0, at=5.5
    )
    reported = await workers("Report", messages.ReportRequest(reports=[report], **WHERE))
    assert reported.answers[0].accepted
    desk.stop = "EarlyStopped"
    beaten = await workers("Heartbeat", messages.HeartbeatRequest(trials=[HELD], **WHERE))
    assert beaten.answers[0].stop == "EarlyStopped"
    result = messages.Result(trial="tune-0", attempt=1, metrics={"loss": 0.5}, reported=True)
    told = await workers(
        "Tell", messages.TellRequest(results=[result], ask=messages.Ask(count=2), **WHERE)
    )
    assert told.answers[0].accepted
    assert [it.trial for it in told.trials] == ["tune-1", "tune-2"]
    back = messages.HeldTrial(trial="tune-1", attempt=1)
    released = await workers("Release", messages.ReleaseRequest(trials=[back], **WHERE))
    assert not released.answers[0].HasField("refused")
    said = {it.verb: it.body for it in desk.heard}
    assert list(said) == list(WorkVerb)
    reports, tell = said[WorkVerb.REPORT], said[WorkVerb.TELL]
    assert isinstance(reports, Reports)
    assert isinstance(tell, Tell)
    heard = reports.reports[0]
    assert (heard.step, heard.id, heard.at, heard.metrics["best"]) == (0, None, 5.5, math.inf)
    assert math.isnan(heard.metrics["loss"])
    assert (tell.results[0].state, tell.results[0].reported) == ("succeeded", True)


async def test_what_is_not_given_is_as_in_json(workers: Workers, desk: WorkDesk) -> None:
    await workers("Ask", messages.AskRequest(experiment="tune"))
    [asked] = desk.heard
    assert asked.namespace == "default"
    assert isinstance(asked.body, Ask)
    assert asked.body.id
    told = (asked.body.worker, asked.body.count, asked.body.lease, asked.body.wait)
    assert told == ("worker", 1, 60.0, 0.0)


async def test_a_refused_item_says_why_and_an_unknown_fate_says_nothing(
    workers: Workers, desk: WorkDesk
) -> None:
    request = messages.HeartbeatRequest(trials=[HELD], **WHERE)
    [answer] = (await workers("Heartbeat", request)).answers
    assert (answer.accepted, answer.refused) == (False, "was not given out")
    desk.refused = None
    [answer] = (await workers("Heartbeat", request)).answers
    assert (answer.accepted, answer.HasField("refused")) == (False, False)


async def test_every_problem_of_a_request_is_in_the_status(workers: Workers) -> None:
    ask = messages.AskRequest(ask=messages.Ask(count=0, lease=0.5), **WHERE)
    assert await workers.fails("Ask", ask) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "ask.count: must be at least 1; ask.lease: must be at least 1",
    )
    result = messages.Result(trial="tune-0", state=7)  # type: ignore[arg-type]
    code, details = await workers.fails("Tell", messages.TellRequest(results=[result], **WHERE))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "results[0].attempt: must be at least 1" in details
    assert "results[0].state: must be 'succeeded' or 'failed'" in details
    code, details = await workers.fails("Ask", messages.AskRequest())
    assert (code, "name: not a name" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_failures_have_their_statuses(workers: Workers, desk: WorkDesk) -> None:
    request = messages.AskRequest(**WHERE)
    desk.drops = 1000
    code, details = await workers.fails("Ask", request)
    assert (code, "try again" in details) == (grpc.StatusCode.UNAVAILABLE, True)
    desk.drops = 0
    desk.experiments.clear()
    assert await workers.fails("Ask", request) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no experiment lab/tune",
    )
    metrics = {f"{'m' * 250}{number}": 1.0 for number in range(256)}
    reports = [messages.Report(trial="t", attempt=1, metrics=metrics)] * 5
    code, _ = await workers.fails("Report", messages.ReportRequest(reports=reports, **WHERE))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_health_service_knows_it(workers: Workers) -> None:
    health = health_pb2_grpc.HealthStub(workers.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service="trialbus.v1.Workers"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("door", [Door(SystemClock(), [Tokens()])])
async def test_where_tokens_are_asked_for_each_call_shows_one(
    workers: Workers, desk: WorkDesk
) -> None:
    request = messages.AskRequest(**WHERE)
    assert (await workers.fails("Ask", request))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert (await workers.fails("Ask", request, "no"))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert (await workers.fails("Ask", request, "reader"))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await workers.fails("Ask", request, "other"))[0] is grpc.StatusCode.NOT_FOUND
    assert desk.requests == []
    assert (await workers("Ask", request, "lab")).trials
