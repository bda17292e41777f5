"""Katib's gRPC API at the gateway's one port, with plain clients, over a whole running stack."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.grpc import call, open_channel
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.cli.api import path_of
from trialbus.contracts import subjects
from trialbus.contracts.chunks import PushedPoint, PushReply, PushReport
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import NotNow, NotThere, Refused
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.bus import Request
from trialbus.ports.store import Query
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

PUSHES = Path(__file__).parents[1] / "data" / "trials" / "pushes.py"
# A trial that says one value and waits for the file `go` in a folder.
WAITS = (
    "import sys, time, pathlib; print('loss=0.5', flush=True)\n"
    "ends = time.monotonic() + 60\n"
    "while not pathlib.Path(sys.argv[1], 'go').exists() and time.monotonic() < ends:"
    " time.sleep(0.02)"
)
Row = tuple[str, str, str]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
async def katib(stack: RealStack) -> AsyncIterator["Katib"]:
    async with open_channel(stack.status.grpc) as channel:
        yield Katib(channel)


class Katib:
    """A plain client of the gateway's port."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def report(self, trial: str, *rows: Row) -> None:
        """Rows of (time, metric, value)."""
        logs = [
            api_pb2.MetricLog(time_stamp=at, metric=api_pb2.Metric(name=metric, value=value))
            for at, metric, value in rows
        ]
        log = api_pb2.ObservationLog(metric_logs=logs)
        request = api_pb2.ReportObservationLogRequest(trial_name=trial, observation_log=log)
        await call(self.channel, "DBManager", "ReportObservationLog", request, timeout_s=30)

    async def rows(self, trial: str, **wanted: str) -> list[Row]:
        request = api_pb2.GetObservationLogRequest(trial_name=trial, **wanted)
        reply = await call(self.channel, "DBManager", "GetObservationLog", request, timeout_s=30)
        return [
            (row.time_stamp, row.metric.name, row.metric.value)
            for row in reply.observation_log.metric_logs
        ]

    async def delete(self, trial: str) -> None:
        request = api_pb2.DeleteObservationLogRequest(trial_name=trial)
        await call(self.channel, "DBManager", "DeleteObservationLog", request, timeout_s=30)

    async def stop(self, trial: str) -> None:
        request = api_pb2.SetTrialStatusRequest(trial_name=trial)
        await call(self.channel, "EarlyStopping", "SetTrialStatus", request, timeout_s=30)


def waiting(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    return experiment_object(name, [sys.executable, "-c", WAITS, str(folder), "{x}"], **options)


async def trial_of(stack: RealStack, name: str) -> Trial:
    async with stack.store() as store:
        [found] = await store.find(TRIALS.name, Query(equals={"name": name}))
    return TRIAL.decode(found)


@asynccontextmanager
async def running(stack: RealStack, folder: Path, experiment: dict[str, Any]) -> AsyncIterator[str]:
    """The name of its only trial. It may end, and has ended, when the context does."""
    name = experiment["metadata"]["name"]
    stack.apply(experiment)
    api = stack.api()
    names: list[str] = []

    def has_a_trial() -> bool:
        items = api.items(path_of("trials"), namespace=NAMESPACE, experiment=name)
        names[:] = [trial["metadata"]["name"] for trial in items]
        return bool(names)

    await until(has_a_trial, f"{name} has a trial", within_s=60)
    api.close()
    try:
        yield names[0]
    finally:
        (folder / "go").touch()
        await stack.ended(name)


async def until_rows(katib: Katib, trial: str, count: int) -> list[Row]:
    rows: list[Row] = []

    async def are_there() -> bool:
        rows[:] = await katib.rows(trial)
        return len(rows) >= count

    await until(are_there, f"{count} rows", within_s=60)
    return rows


async def test_a_push_experiment_reports_by_grpc_alone(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    command = [sys.executable, str(PUSHES), stack.status.grpc, str(tmp_path), "{x}", "3"]
    experiment = experiment_object("pushes", command)
    experiment["spec"]["metricsCollectorSpec"] = {"collector": {"kind": "Push"}}
    experiment["spec"]["objective"]["additionalMetricNames"] = ["accuracy"]
    async with running(stack, tmp_path, experiment) as name:
        rows = await until_rows(katib, name, 4)
        assert (await trial_of(stack, name)).phase is TrialPhase.CREATED, "they came live"
        x = float(rows[0][2])
        assert rows[:3] == [
            (f"2024-05-01T10:00:0{number}.123457Z", "loss", repr(x * number))
            for number in (1, 2, 3)
        ]
        assert rows[3][1:] == ("accuracy", "0.5")
        assert await katib.rows(name, metric_name="accuracy") == rows[3:]
        bounds = {
            "start_time": "2024-05-01T12:00:01.5+02:00",
            "end_time": "2024-05-01T10:00:02.123457Z",
        }
        assert await katib.rows(name, **bounds) == rows[1:2]
    trial = await trial_of(stack, name)
    assert trial.phase is TrialPhase.SUCCEEDED
    observed = {it.name: (it.min, it.max, it.latest) for it in trial.observation}
    assert observed == {"loss": (x, x * 3, x * 3), "accuracy": (0.5, 0.5, 0.5)}
    assert await katib.rows(name) == rows


async def test_pushes_join_what_a_run_prints(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    async with running(stack, tmp_path, waiting("joins", tmp_path)) as name:
        await until_rows(katib, name, 1)
        await katib.report(name, ("", "loss", "0.25"), ("", "loss", "unavailable"))
        assert [row[1:] for row in await katib.rows(name)] == [("loss", "0.5"), ("loss", "0.25")]
        await katib.report(name, ("", "unnamed", "7"))
        assert [row[1:] for row in await katib.rows(name)][2:] == [("unnamed", "7")]
        with pytest.raises(NotNow, match="has not ended"):
            await katib.delete(name)
        with pytest.raises(Refused, match=r"metric_logs\[1\].metric.value: not a number: '1e'"):
            await katib.report(name, ("", "loss", "1"), ("", "loss", "1e"), ("noon", "a", "1"))
    trial = await trial_of(stack, name)
    assert [(it.name, it.min, it.max) for it in trial.observation] == [("loss", 0.25, 0.5)]
    with pytest.raises(NotNow, match="its run has ended"):
        await katib.report(name, ("", "loss", "0.1"))
    await katib.delete(name)
    assert await katib.rows(name) == []
    assert (await trial_of(stack, name)).phase is TrialPhase.SUCCEEDED


async def test_a_trial_that_does_not_exist(katib: Katib) -> None:
    with pytest.raises(NotThere, match="no trial 'nobody'"):
        await katib.report("nobody", ("", "loss", "1"))
    with pytest.raises(NotThere):
        await katib.rows("nobody")
    with pytest.raises(NotThere):
        await katib.stop("nobody")
    await katib.delete("nobody")


async def test_set_trial_status_stops_the_run_and_the_trial_ends_early_stopped(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    rule = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "1000"}],
    }
    async with running(stack, tmp_path, waiting("stopped", tmp_path, stopping=rule)) as name:
        await until_rows(katib, name, 1)
        await katib.stop(name)
        await katib.stop(name)
        [story] = await stack.ended("stopped")
    assert (await trial_of(stack, name)).phase is TrialPhase.EARLY_STOPPED
    assert "SetTrialStatus" in str(story)
    await katib.stop(name)


async def test_set_trial_status_without_early_stopping_is_refused(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    async with running(stack, tmp_path, waiting("ruleless", tmp_path)) as name:
        with pytest.raises(NotNow, match="no earlyStopping"):
            await katib.stop(name)
    with pytest.raises(NotNow, match="it has ended: Succeeded"):
        await katib.stop(name)


async def test_rules_come_from_what_is_stored_of_succeeded_trials(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    async with running(stack, tmp_path, waiting("ruled", tmp_path)) as name:
        await until_rows(katib, name, 1)
        await katib.report(name, ("", "loss", "1.5"), ("", "loss", "100"))
    request = api_pb2.GetEarlyStoppingRulesRequest()
    spec = request.experiment.spec
    spec.objective.type = api_pb2.MINIMIZE
    spec.objective.objective_metric_name = "loss"
    spec.early_stopping.algorithm_name = "medianstop"
    spec.early_stopping.algorithm_settings.add(name="min_trials_required", value="1")
    spec.early_stopping.algorithm_settings.add(name="start_step", value="2")
    said = request.trials.add(name=name)
    said.status.condition = api_pb2.TrialStatus.SUCCEEDED
    reply = await call(
        katib.channel, "EarlyStopping", "GetEarlyStoppingRules", request, timeout_s=30
    )
    [rule] = reply.early_stopping_rules
    assert (rule.name, rule.value, rule.start_step) == ("loss", "1", 2)
    assert rule.comparison == api_pb2.GREATER
    spec.early_stopping.algorithm_settings.add(name="start_step", value="0")
    with pytest.raises(Refused, match=r"^start_step must be greater or equal than one \(>=1\)$"):
        await call(katib.channel, "EarlyStopping", "GetEarlyStoppingRules", request, timeout_s=30)


@pytest.mark.parametrize(
    ("objective", "rule", "settings", "expected"),
    [
        (api_pb2.MINIMIZE, "threshold", {"upper": "5"}, [("5", api_pb2.GREATER, 0)]),
        (api_pb2.MAXIMIZE, "threshold", {"lower": "1", "upper": "5"}, [("1", api_pb2.LESS, 0)]),
        (api_pb2.MAXIMIZE, "percentile", {"percentile": "25"}, []),
        (api_pb2.MINIMIZE, "patience", {"patience": "3"}, []),
    ],
)
async def test_other_rules_are_told_as_far_as_katib_has_words(
    katib: Katib,
    objective: api_pb2.ObjectiveType,
    rule: str,
    settings: dict[str, str],
    expected: list[tuple[str, int, int]],
) -> None:
    request = api_pb2.GetEarlyStoppingRulesRequest()
    spec = request.experiment.spec
    spec.objective.type = objective
    spec.objective.objective_metric_name = "loss"
    spec.early_stopping.algorithm_name = rule
    for name, value in settings.items():
        spec.early_stopping.algorithm_settings.add(name=name, value=value)
    checked = api_pb2.ValidateEarlyStoppingSettingsRequest(early_stopping=spec.early_stopping)
    await call(
        katib.channel, "EarlyStopping", "ValidateEarlyStoppingSettings", checked, timeout_s=30
    )
    reply = await call(
        katib.channel, "EarlyStopping", "GetEarlyStoppingRules", request, timeout_s=30
    )
    told = [(it.value, it.comparison, it.start_step) for it in reply.early_stopping_rules]
    assert told == expected


async def test_pushes_over_the_bus_take_effect_once(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    bus = await NatsBus.open(ConnectionOptions(servers=[stack.status.nats], name="tests"))
    try:
        async with running(stack, tmp_path, waiting("bussed", tmp_path)) as name:
            await until_rows(katib, name, 1)
            said = PushReport(id="first", points=(PushedPoint(metric="loss", value=0.1, at=5.0),))
            subject = subjects.push(NAMESPACE, "bussed", name)
            for _ in range(3):
                request = Request(subject=subject, data=said.to_bytes())
                reply = PushReply.from_bytes(await bus.request(request, timeout_s=30))
                assert reply == PushReply(accepted=True)
            rows = await katib.rows(name)
            assert rows[0] == ("1970-01-01T00:00:05Z", "loss", "0.1")
            assert len(rows) == 2
            other = Request(subject=subjects.push("a", "bussed", name), data=said.to_bytes())
            reply = PushReply.from_bytes(await bus.request(other, timeout_s=30))
            assert reply.refused == f"a/bussed has no trial '{name}'"
    finally:
        await bus.close()


async def test_health_under_the_names_that_probes_ask_for(katib: Katib) -> None:
    check = health_pb2_grpc.HealthStub(katib.channel).Check
    names = (
        "",
        "grpc.health.v1.Health",
        "api.v1.beta1.DBManager",
        "api.v1.beta1.EarlyStopping",
    )
    for name in names:
        said = await check(health_pb2.HealthCheckRequest(service=name))
        assert said.status == health_pb2.HealthCheckResponse.SERVING, name


async def test_a_call_waits_for_an_owner_that_is_starting_again(
    stack: RealStack, katib: Katib, tmp_path: Path
) -> None:
    async with running(stack, tmp_path, waiting("waits", tmp_path)) as name:
        await until_rows(katib, name, 1)
        killed = stack.kill("metrics_collector")
        await katib.report(name, ("", "loss", "0.25"))
        await stack.returned("metrics_collector", killed)
        assert [row[2] for row in await katib.rows(name)] == ["0.5", "0.25"]
