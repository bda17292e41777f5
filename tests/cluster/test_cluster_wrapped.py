"""Trials in the wrapper on a cluster: what its last message makes of the attempt."""

import json
from typing import Any

from tests.cluster.cluster_worlds import ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double

from trialbus.kernel.run import Run, RunPhase
from trialbus.testkit.waits import until

WRAPPED = {"wrapper_image": "wrapper:1", "trial_gateway_url": "http://gateway.trialbus:8080"}
AWAY = "the gateway at gateway:80 did not answer"


def told(code: int, **said: Any) -> Outcome:
    return Outcome(exit_code=code, message=json.dumps({"trialbus": {"exit": code, **said}}))


async def first_run(cluster: ClusterWorld) -> Run:
    """Once it has ended."""

    def ended() -> list[Run]:
        return [it for it in cluster.runs() if it.attempt == 1 and it.ended]

    await until(ended, "its first attempt has ended", within_s=30)
    return ended()[0]


async def test_an_attempt_that_no_pod_could_claim_is_tried_again(double: Double) -> None:
    """The gateway was away for longer than the wrapper waits."""
    unanswered = told(75, ran=False, error=AWAY)
    left = [unanswered]
    async with cluster_world(
        double, settings=WRAPPED, run=lambda _: left.pop() if left else RUNS_ON
    ) as cluster:
        await cluster.apply(wanted("away", job()))
        run = await first_run(cluster)
        assert run.phase is RunPhase.LOST
        assert f"could not claim its attempt: {AWAY}" in run.message
        await until(lambda: len(cluster.runs()) == 2, "the next attempt")
        assert cluster.experiment("away").verdict is None


async def test_a_command_that_its_wrapper_has_stopped_is_stopped_though_nobody_told_the_launcher(
    double: Double,
) -> None:
    stopped = told(143, ran=True, signal=15, stop="EarlyStopped")
    async with cluster_world(double, settings=WRAPPED, run=lambda _: stopped) as cluster:
        await cluster.apply(wanted("stopped", job()))
        run = await first_run(cluster)
        assert (run.phase, run.stop_reason) == (RunPhase.FINISHED, "EarlyStopped")
        assert (run.exit_code, run.verdict) == (143, None)
