"""What a scraped endpoint says is in the spool, and is read from there, however long it is."""

from collections.abc import Sequence

from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, MetricsEndpoint
from trialbus.ports.launcher import RunPlan
from trialbus.testkit.memory_launcher import MemoryWorld, Script
from trialbus.testkit.still_world import StillClock
from trialbus_trial_launcher.app.sources.scraping import ScrapeSource
from trialbus_trial_launcher.app.sources.source import Watched

RUN = "5f0c.0.1"
ENDPOINT = MetricsEndpoint(port=8080, path="/metrics")


async def scraped(body: str) -> list[tuple[str, float]]:
    """The points of one answer of the endpoint."""
    world = MemoryWorld(lambda _id, _plan: Script(duration_s=None), now=lambda: 0.0)
    await world.launcher().start([RunPlan(run_id=RUN, command=("x",))])
    watched = Watched(
        launcher=world.launcher(),
        run_id=RUN,
        objective=Objective(type=ObjectiveType.MINIMIZE, metric="loss"),
        collector=MetricsCollectorSpec(kind=CollectorKind.PROMETHEUS_METRIC, endpoint=ENDPOINT),
    )

    async def get(_url: str, _headers: Sequence[tuple[str, str]]) -> bytes:
        return body.encode()

    source = ScrapeSource(
        watched, ENDPOINT, own_port=False, get=get, clock=StillClock(), interval_s=1.0
    )
    await source.gather()
    reader = source.reader(0)
    found = reader.feed(await source.read(0, 10**7), -1.0)
    return [(point.metric, point.value) for point in found]


async def test_samples_with_long_labels_are_points_as_others_are() -> None:
    # Together far longer than a line of a trial's output may be.
    body = "".join(f'loss{{layer="{"é" * 1000}",number="{n}"}} {n}\n' for n in range(150))
    assert await scraped(body) == [("loss", float(n)) for n in range(150)]
