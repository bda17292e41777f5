"""Katib's DBManager: what its texts mean here, over a real socket and a store in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from trialbus.adapters.grpc import CALL_ID, call, open_channel, serving_grpc
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import Refused
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime import metrics
from trialbus.runtime.clock import RandomIds
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus.testkit.told_metrics import nonzero, told
from trialbus_metrics_collector.adapters.observation_calls import DBManager
from trialbus_metrics_collector.app.appending import Appending
from trialbus_metrics_collector.app.chains import Chains
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.notices import Notices
from trialbus_metrics_collector.app.observation_logs import ObservationLogs
from trialbus_metrics_collector.app.pushes import Pushes
from trialbus_metrics_collector.app.tails import Tails

NAME = "tune-a"
METHOD = "/api.v1.beta1.DBManager/ReportObservationLog"
Row = tuple[str, str, str]


@asynccontextmanager
async def served(
    world: StillWorld, telemetry: Telemetry | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """One trial runs; the clock stands at 1000."""
    await world.prepare(experiment(1))
    await world.insert(TRIALS.name, TRIAL.encode(TRIAL_THAT_RUNS))
    parts = replace(world.parts(), ids=RandomIds())
    parts = replace(parts, telemetry=telemetry or parts.telemetry)
    tails = Tails(parts.store)
    chains = Chains(parts, tails, Notices(parts.outbox))
    pushes = Pushes(parts, Appending(parts, Experiments(parts.store), chains))
    handlers = DBManager(pushes, ObservationLogs(parts, tails)).handlers()
    async with (
        serving_grpc([handlers], ready=lambda: True, host="127.0.0.1", port=0) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


TRIAL_THAT_RUNS = Trial(
    id=f"{UID}.0",
    uid=UID,
    version=1,
    namespace="team",
    experiment="tune",
    index=0,
    name=NAME,
    phase=TrialPhase.CREATED,
    assignments=(),
    conditions=(),
    created_at=0.0,
)


def log_of(*rows: Row) -> api_pb2.ReportObservationLogRequest:
    logs = [
        api_pb2.MetricLog(time_stamp=at, metric=api_pb2.Metric(name=metric, value=value))
        for at, metric, value in rows
    ]
    log = api_pb2.ObservationLog(metric_logs=logs)
    return api_pb2.ReportObservationLogRequest(trial_name=NAME, observation_log=log)


async def report(channel: grpc.aio.Channel, *rows: Row) -> None:
    await call(channel, "DBManager", "ReportObservationLog", log_of(*rows), timeout_s=10)


async def rows(channel: grpc.aio.Channel, **wanted: str) -> list[Row]:
    request = api_pb2.GetObservationLogRequest(trial_name=NAME, **wanted)
    reply = await call(channel, "DBManager", "GetObservationLog", request, timeout_s=10)
    return [
        (row.time_stamp, row.metric.name, row.metric.value)
        for row in reply.observation_log.metric_logs
    ]


@pytest.mark.parametrize(
    ("reported", "stored"),
    [
        ("0.9500", "0.95"),
        ("888", "888"),
        (" +1e-7 ", "1e-07"),
        (".5", "0.5"),
        ("5.", "5"),
        ("NaN", "nan"),
        ("-Inf", "-inf"),
        ("infinity", "inf"),
    ],
)
async def test_a_value_comes_back_as_the_shortest_text_of_the_same_number(
    reported: str, stored: str
) -> None:
    async with served(StillWorld()) as channel:
        await report(channel, ("", "loss", reported))
        assert await rows(channel) == [("1970-01-01T00:16:40Z", "loss", stored)]


async def test_what_katib_says_of_missing_values_is_no_value() -> None:
    async with served(StillWorld()) as channel:
        await report(channel, ("", "loss", "unavailable"), ("", "loss", ""), ("", "acc", "1"))
        await report(channel)
        assert [row[1:] for row in await rows(channel)] == [("acc", "1")]


async def test_a_text_is_a_value_as_in_katib() -> None:
    async with served(StillWorld()) as channel:
        await report(channel, ("", "acc", "0.5"), ("", "genotype", " Genotype(a)\n"))
        found = [row[1:] for row in await rows(channel)]
        assert found == [("acc", "0.5"), ("genotype", "Genotype(a)")]


@pytest.mark.parametrize("value", ["none", "1_000", "0x1p-2", "٣", "1e", "--1", "1 2"])
async def test_a_value_that_is_no_number_refuses_the_report_with_every_problem(value: str) -> None:
    async with served(StillWorld()) as channel:
        with pytest.raises(Refused) as refused:
            await report(channel, ("", "loss", "1"), ("", "loss", value), ("noon", "acc", "1"))
        assert f"metric_logs[1].metric.value: not a number: {value!r}" in str(refused.value)
        assert "metric_logs[2].time_stamp: not a time" in str(refused.value)
        assert await rows(channel) == []


async def test_points_that_are_refused_are_counted_as_those_of_other_pushes_are() -> None:
    telemetry = Telemetry("metrics_collector")
    async with served(StillWorld(), telemetry) as channel:
        await report(channel, ("", "loss", "1"), ("", "acc", "1"))
        with pytest.raises(Refused):
            await report(channel, ("", "loss", "1"), ("", "loss", "none"), ("noon", "acc", "1"))
        assert told(telemetry, metrics.METRIC_POINTS) == 2
        assert nonzero(telemetry, metrics.METRIC_REFUSED) == {("invalid",): 3}
        assert nonzero(telemetry, metrics.METRIC_CHUNKS) == {("stored",): 1, ("refused",): 1}


async def test_a_long_value_that_is_no_number_is_refused_in_linear_time() -> None:
    # In square time this is 10^12 steps, hours; in linear time a few milliseconds.
    async with served(StillWorld()) as channel:
        with pytest.raises(Refused, match="not a number"):
            await report(channel, ("", "loss", "9" * 10**6 + "x"))


async def test_times_keep_microseconds_and_go_zero_time_means_now() -> None:
    async with served(StillWorld()) as channel:
        await report(
            channel,
            ("2024-05-01T12:00:00.123456789+02:00", "loss", "1"),
            ("0001-01-01T00:00:00Z", "loss", "2"),
        )
        assert await rows(channel) == [
            ("1970-01-01T00:16:40Z", "loss", "2"),
            ("2024-05-01T10:00:00.123457Z", "loss", "1"),
        ]


async def test_bounds_hold_to_the_nanosecond() -> None:
    async with served(StillWorld()) as channel:
        await report(channel, ("2024-05-01T10:00:00.000001Z", "loss", "1"))
        for bounds, found in (
            ({"start_time": "2024-05-01T10:00:00.000001Z"}, 1),
            ({"start_time": "2024-05-01T10:00:00.000001001Z"}, 0),
            ({"end_time": "2024-05-01T10:00:00.000001Z"}, 1),
            ({"end_time": "2024-05-01T10:00:00.000000999Z"}, 0),
        ):
            assert len(await rows(channel, **bounds)) == found, bounds
        with pytest.raises(Refused, match=r"start_time: .*end_time: "):
            await rows(channel, start_time="noon", end_time="night")


async def test_a_call_that_is_repeated_under_its_id_has_one_effect() -> None:
    async with served(StillWorld()) as channel:
        ask = channel.unary_unary(METHOD)
        for call_id in ("a", "a", "b"):
            data = log_of(("", "loss", "1")).SerializeToString()
            await ask(data, metadata=((CALL_ID, call_id),), timeout=10)
        assert len(await rows(channel)) == 2
        await report(channel, ("", "loss", "1"))
        await report(channel, ("", "loss", "1"))
        assert len(await rows(channel)) == 4


async def test_a_log_of_a_hundred_thousand_rows_goes_in_and_out_whole() -> None:
    many = [(f"2024-05-01T10:00:00.{n:06d}Z", "loss", str(n)) for n in range(100_000)]
    async with served(StillWorld()) as channel:
        request = log_of(*many)
        await call(channel, "DBManager", "ReportObservationLog", request, timeout_s=60)
        found = await rows(channel)
    assert [int(value) for _, _, value in found] == list(range(100_000))
