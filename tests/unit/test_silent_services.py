"""Services that have fallen silent: told as the reason why experiments and trials do not go on."""

from dataclasses import replace

import pytest

from trialbus.contracts.collections import EXPERIMENTS, HEARTBEATS, RUNS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, HEARTBEAT, RUN, TRIAL
from trialbus.kernel.access import Role
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState
from trialbus.kernel.heartbeats import Heartbeat, heartbeat_id
from trialbus.kernel.limits import SILENCE_S
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import PointsRequest
from trialbus.runtime.beating import Beating
from trialbus.testkit.gateway_documents import experiment, opened, run, trial
from trialbus.testkit.still_world import StillWorld
from trialbus_gateway.app.guarded_ports import guarded
from trialbus_gateway.app.reach import acting_as
from trialbus_gateway.app.telling import Telling
from trialbus_gateway.core.identities import Identity
from trialbus_gateway.core.stories import Story

TENANT = Identity(name="me", by="token", role=Role.READER, namespaces=frozenset({"lab"}))
LAUNCHER, COLLECTOR = "trial_launcher", "metrics_collector"
OPEN = experiment(open={"0": opened()}, next_index=1)
# Of those that live no replica was heard longer ago than this.
FRESH_S = SILENCE_S - 1


async def world(state: Experiment, *runs: Run) -> StillWorld:
    """With one trial; all services were heard just now, the launcher on `box`."""
    still = StillWorld()
    still.clock.time = 2_000.0
    await still.prepare(state)
    await still.insert(TRIALS.name, TRIAL.encode(trial()))
    for each in runs:
        await still.insert(RUNS.name, RUN.encode(each))
    for service in ("experiment", "suggestion", COLLECTOR):
        await beat(still, service)
    await beat(still, LAUNCHER, "box")
    return still


async def beat(still: StillWorld, service: str, host: str = "") -> None:
    await Beating(still.parts(), service, host).beat()


async def told(still: StillWorld) -> Story:
    parts = still.parts()
    [document] = still.store.documents(EXPERIMENTS.name)
    return await Telling(parts.store, parts.clock).experiment(EXPERIMENT.decode(document))


async def told_of_trial(still: StillWorld) -> Story:
    parts = still.parts()
    return (await Telling(parts.store, parts.clock).trial(trial())).story


def silent(story: Story) -> list[str]:
    return [step.reason for step in story.chain if step.reason.endswith("Silent")]


async def later(still: StillWorld, *living: str) -> None:
    """All but the living ones are silent for long enough; a launcher lives on `box`."""
    still.clock.time += SILENCE_S
    for service in living:
        await beat(still, service, "box" if service == LAUNCHER else "")


async def test_a_silent_launcher_is_why_trials_are_not_started() -> None:
    still = await world(OPEN)
    still.clock.time += FRESH_S
    assert silent(await told(still)) == silent(await told_of_trial(still)) == []
    await later(still, "experiment", "suggestion", COLLECTOR)
    for story in (await told(still), await told_of_trial(still)):
        assert silent(story) == ["TrialLauncherSilent"]
        assert story.standing.reason == "TrialLauncherSilent"
        assert story.standing.message.startswith(
            "the trial launcher has not been heard since 1970-01-01T00:33:20Z: no trial is started."
        )
        assert "one that is frozen has to be killed" in story.standing.message
        step = next(it for it in story.chain if it.reason == "TrialLauncherSilent")
        assert (step.at, step.event) == (2_000.0, "waiting")
        assert step.message.endswith(": no trial is started")


async def test_of_a_run_its_own_host_must_have_been_heard() -> None:
    still = await world(OPEN, run())
    await later(still, "experiment", "suggestion", COLLECTOR)
    await beat(still, LAUNCHER, "another")
    for story in (await told(still), await told_of_trial(still)):
        assert story.standing.reason == "TrialLauncherSilent"
        assert "the trial launcher of box has not been heard since" in story.standing.message
        assert "can be neither watched nor stopped" in story.standing.message


async def test_who_is_heard_again_is_not_told_of() -> None:
    still = await world(OPEN, run())
    await later(still)
    assert silent(await told(still)) == [
        "ExperimentSilent",
        "TrialLauncherSilent",
        "MetricsCollectorSilent",
    ]
    await later(still, "experiment", LAUNCHER, COLLECTOR)
    assert silent(await told(still)) == silent(await told_of_trial(still)) == []
    assert (await told(still)).standing.reason == "ExperimentRunning"


ASKED = experiment(requests=(PointsRequest(number=1, first=0, count=2, watermark=0, asked_at=1.0),))
WORKERS = replace(OPEN, spec=replace(OPEN.spec, trials_by=TrialsBy.WORKERS))
PAUSED = experiment(
    open={"0": opened(state=OpenState.PAUSED)}, next_index=1, phase=ExperimentPhase.SUSPENDED
)
FINISHED = run(phase=RunPhase.FINISHED, finished_at=400.0, exit_code=0)


@pytest.mark.parametrize(
    ("state", "runs", "expected"),
    [
        (ASKED, (), ["ExperimentSilent", "SuggestionSilent"]),
        (WORKERS, (), ["ExperimentSilent", "TrialLauncherSilent"]),
        (PAUSED, (FINISHED,), ["ExperimentSilent"]),
        (OPEN, (FINISHED,), ["ExperimentSilent", "MetricsCollectorSilent"]),
        (replace(OPEN, phase=ExperimentPhase.SUCCEEDED, open={}), (), []),
    ],
    ids=["asks for points", "of workers", "suspended", "metrics are missing", "over"],
)
async def test_only_who_is_waited_for_is_told_of(
    state: Experiment, runs: tuple[Run, ...], expected: list[str]
) -> None:
    still = await world(state, *runs)
    await later(still)
    assert silent(await told(still)) == expected


async def test_a_lost_attempt_waits_for_the_experiment_service() -> None:
    still = await world(OPEN, run(phase=RunPhase.LOST, finished_at=400.0))
    await later(still)
    assert silent(await told(still)) == silent(await told_of_trial(still)) == ["ExperimentSilent"]


async def test_of_services_that_never_wrote_a_sign_of_life_nothing_is_said() -> None:
    still = StillWorld()
    await still.prepare(OPEN)
    assert silent(await told(still)) == []


async def test_a_tenant_is_told_too() -> None:
    still = await world(OPEN)
    await later(still, "experiment")
    parts = guarded(still.parts())
    with acting_as(TENANT):
        story = await Telling(parts.store, parts.clock).experiment(OPEN)
    assert silent(story) == ["TrialLauncherSilent"]


async def test_replicas_have_one_heartbeat_together() -> None:
    still = StillWorld()
    await still.prepare()
    one, other = (Beating(still.parts(name), "suggestion", "") for name in ("one", "other"))
    await one.beat()
    await other.beat()
    [document] = still.store.documents(HEARTBEATS.name)
    assert document == HEARTBEAT.encode(
        Heartbeat(
            id=heartbeat_id("suggestion", ""),
            version=1,
            service="suggestion",
            host="",
            heard_at=still.clock.time,
        )
    )
    still.clock.time += 10.0
    await other.beat()
    [document] = still.store.documents(HEARTBEATS.name)
    assert (document["version"], document["heard_at"]) == (2, still.clock.time)
