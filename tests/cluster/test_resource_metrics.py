"""What the gateway tells of custom resources: how soon they show a change, and what keeps them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster.double.faults import Fault
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import Kept, kept_world

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.runtime import metrics
from trialbus.testkit.gateway_world import katib, open_trial, trial_of
from trialbus.testkit.told_metrics import told, told_seconds
from trialbus.testkit.waits import until


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


async def begin_trial(kept: Kept, state: Experiment) -> None:
    """In the store alone, and said on the bus."""
    await kept.world.put(TRIAL.encode(trial_of(state, 0)), into=TRIALS.name)
    after = await kept.world.change(state, open={"0": open_trial()}, next_index=1)
    await kept.world.tell(after)


async def test_a_change_in_the_store_is_timed_until_its_object_shows_it(kept: Kept) -> None:
    telemetry = kept.world.parts.telemetry
    await kept.start()
    kept.double.create(katib())
    state = await kept.until_made()
    await until(lambda: told(telemetry, metrics.RESOURCE_SYNC) > 0, "the first state is shown")
    before = told(telemetry, metrics.RESOURCE_SYNC)
    await begin_trial(kept, state)
    await until(lambda: kept.status().get("trials", 0) == 1, "the trial shows")
    await until(lambda: told(telemetry, metrics.RESOURCE_SYNC) > before, "it is told")
    assert told_seconds(telemetry, metrics.RESOURCE_SYNC) < 10
    assert told(telemetry, metrics.RESOURCE_FAILURES) == 0


async def test_what_keeps_an_object_from_its_state_is_a_failure_and_counts_as_delay(
    kept: Kept,
) -> None:
    telemetry = kept.world.parts.telemetry
    await kept.start()
    kept.double.create(katib())
    state = await kept.until_made()
    await until(lambda: told(telemetry, metrics.RESOURCE_SYNC) > 0, "the first state is shown")
    before = told_seconds(telemetry, metrics.RESOURCE_SYNC)
    for resource in ("experiments/status", "trials", "trials/status"):
        for verb in ("create", "patch"):
            fault = Fault(kind="status", verb=verb, resource=resource, code=500, times=2)
            kept.double.faults.add(fault)
    await begin_trial(kept, state)
    await until(lambda: kept.status().get("trials", 0) == 1, "the trial shows")
    failures = told(telemetry, metrics.RESOURCE_FAILURES)
    assert failures >= 1
    # 50 ms after the first failure, then 100 ms.
    await until(
        lambda: told_seconds(telemetry, metrics.RESOURCE_SYNC) >= before + 0.05, "the delay is told"
    )
