"""Experiments without a template on a cluster."""

from tests.cluster.cluster_worlds import cluster_world, job, wanted
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import Double

from trialbus.testkit.waits import until


async def test_they_run_the_configured_image_with_every_parameter_as_a_flag(
    double: Double,
) -> None:
    experiment = wanted("plain", job())
    del experiment["spec"]["trialTemplate"]
    settings = {"default_trial_image": "lab/trainer:3"}
    outcome = Outcome(log=b"loss=0.25\n", after_s=1.0)
    async with cluster_world(double, run=lambda _: outcome, settings=settings) as cluster:
        reply = await cluster.apply(experiment)
        assert reply.accepted, reply
        await until(lambda: cluster.objects("pods"), "a pod")
        [pod] = cluster.objects("pods")
        [container] = pod["spec"]["containers"]
        [trial] = cluster.trials()
        [value] = [it.value for it in trial.assignments]
        assert container["image"] == "lab/trainer:3"
        assert container["command"] == ["python", "-P", "-m", "trialbus.local.trainers.digits"]
        assert container["args"] == [f"x={value}"]
        await cluster.ended("plain")
        assert [it.value for it in cluster.trials()] == [0.25]
