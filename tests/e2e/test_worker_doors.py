"""Workers at each door of a real stack: gRPC, CloudEvents over HTTP, CloudEvents over NATS."""

import json
from collections.abc import Iterator
from typing import Any

import grpc.aio
import httpx
import nats
import pytest

from trialbus.adapters.grpc import open_channel
from trialbus.contracts.stubs import workers_pb2 as messages
from trialbus.testkit.real_stack import RealStack
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

TRIALS = 6
EXPERIMENTS = "/v1/namespaces/lab/experiments"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("doors") / "one")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


async def create(stack: RealStack, name: str) -> None:
    parameter = {
        "name": "x",
        "parameterType": "int",
        "feasibleSpace": {"min": "1", "max": "9"},
    }
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": "lab",
            "annotations": {"trialbus.io/trials-by": "workers"},
        },
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 2,
            "maxTrialCount": TRIALS,
            "parameters": [parameter],
        },
    }
    async with httpx.AsyncClient(base_url=str(stack.status.http)) as client:
        answer = await client.put(f"{EXPERIMENTS}/{name}", json={"object": experiment})
        assert answer.status_code == 201, answer.text


async def ended_well(stack: RealStack, name: str) -> None:
    api, path = stack.api(), f"{EXPERIMENTS}/{name}/progress"
    await until(lambda: api.get(path)["phase"] == "Succeeded", "it has succeeded", within_s=30)
    assert api.get(path)["trials"]["succeeded"] == TRIALS


async def test_a_worker_over_grpc_runs_an_experiment(stack: RealStack) -> None:
    await create(stack, "by-grpc")
    where: Any = {"namespace": "lab", "experiment": "by-grpc"}
    done: list[str] = []
    async with open_channel(str(stack.status.grpc)) as channel:

        async def call(method: str, request: Any) -> messages.WorkReply:
            ask = channel.unary_unary(
                f"/trialbus.v1.Workers/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=messages.WorkReply.FromString,
            )
            reply: messages.WorkReply = await ask(request, timeout=40)
            return reply

        ask = messages.Ask(count=2, wait=10)
        reply = await call("Ask", messages.AskRequest(ask=ask, **where))
        while not reply.over:
            results = []
            for trial in reply.trials:
                loss = float(trial.parameters["x"].integer)
                report = messages.Report(
                    trial=trial.trial, attempt=trial.attempt, step=1, metrics={"loss": loss}
                )
                told = await call("Report", messages.ReportRequest(reports=[report], **where))
                assert told.answers[0].accepted
                done.append(trial.trial)
                results.append(messages.Result(trial=trial.trial, attempt=trial.attempt))
            if results:
                reply = await call("Tell", messages.TellRequest(results=results, **where))
                assert all(answer.accepted for answer in reply.answers)
            else:
                reply = await call("Ask", messages.AskRequest(ask=ask, **where))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call("Ask", messages.AskRequest(namespace="lab", experiment="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(set(done)) == len(done) == TRIALS
    await ended_well(stack, "by-grpc")


def event(number: int, verb: str, name: str, data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{name}-{number}",
        "source": "/workers/test",
        "type": f"io.trialbus.trial.{verb}.v1",
        "subject": f"lab/{name}",
        "data": data,
    }


def results_of(reply: Any) -> list[dict[str, Any]]:
    return [
        {
            "trial": it["trial"],
            "attempt": it["attempt"],
            "metrics": {"loss": it["parameters"]["x"]},
        }
        for it in reply["trials"]
    ]


async def test_a_worker_that_posts_each_event_twice_runs_an_experiment(stack: RealStack) -> None:
    await create(stack, "by-events")
    number, done = 0, []
    async with httpx.AsyncClient(base_url=str(stack.status.http), timeout=60) as client:
        say: tuple[str, Any] = ("ask", {"wait": 10})
        while True:
            number += 1
            posted = event(number, say[0], "by-events", say[1])
            answers = [await client.post("/v1/events", json=posted) for _ in range(2)]
            assert [it.status_code for it in answers] == [200, 200], answers[0].text
            first, again = (it.json()["result"] for it in answers)
            if first["trials"]:
                assert again["trials"] == first["trials"]
            assert all(it["accepted"] for it in [*first["answers"], *again["answers"]])
            if again["over"]:
                break
            # The first may have come when there was none yet.
            done += [it["trial"] for it in again["trials"]]
            results = results_of(again)
            say = ("tell", {"results": results, "ask": {}}) if results else ("ask", {"wait": 10})
    assert len(set(done)) == len(done) == TRIALS
    await ended_well(stack, "by-events")


async def test_a_worker_over_nats_sends_events_in_binary_mode_and_hears_what_is_wrong(
    stack: RealStack,
) -> None:
    await create(stack, "by-nats")
    bus = await nats.connect(str(stack.status.nats))
    try:
        refusals = await bus.subscribe("trialbus.v1.evt.lab.by-nats.command.refused")

        async def say(number: int, verb: str, data: Any) -> Any:
            told = event(number, verb, "by-nats", data)
            headers = {f"ce-{key}": value for key, value in told.items() if key != "data"}
            answer = await bus.request(
                f"trialbus.v1.cmd.lab.by-nats.{verb}",
                json.dumps(data).encode(),
                timeout=30,
                headers={**headers, "content-type": "application/json"},
            )
            return json.loads(answer.data)

        refused = await say(1, "ask", {"count": 0})
        assert not refused["accepted"]
        assert refused["problems"] == [{"field": "data.count", "message": "must be at least 1"}]
        notice = json.loads((await refusals.next_msg(timeout=20)).data)
        assert notice["data"]["verb"] == "ask"
        reply, number = await say(2, "ask", {"wait": 10, "count": 2}), 2
        while not reply["over"]:
            number += 1
            results = results_of(reply)
            verb, data = ("tell", {"results": results}) if results else ("ask", {"wait": 10})
            reply = await say(number, verb, data)
    finally:
        await bus.close()
    await ended_well(stack, "by-nats")


async def test_a_trial_can_be_read_as_soon_as_it_is_given(stack: RealStack) -> None:
    """Its document follows up to a second later."""
    await create(stack, "young")
    async with httpx.AsyncClient(base_url=str(stack.status.http), timeout=60) as client:
        body = {"wait": 10}
        reply = (await client.post(f"{EXPERIMENTS}/young/ask", json=body)).json()
        while not reply["trials"]:
            reply = (await client.post(f"{EXPERIMENTS}/young/ask", json=body)).json()
        [given] = reply["trials"]
        answer = await client.get(f"/v1/trials/{given['trial']}")
        assert answer.status_code == 200, answer.text
        told = {it["name"]: it["value"] for it in answer.json()["spec"]["parameterAssignments"]}
        assert told == {"x": str(given["parameters"]["x"])}
        metrics = await client.get(f"/v1/trials/{given['trial']}/metrics")
        assert metrics.status_code == 200, metrics.text
        unknown = await client.get("/v1/trials/young-bcdfghjk")
        assert unknown.status_code == 404, unknown.text
