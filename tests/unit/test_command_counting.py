"""Commands are counted once each by what became of them, and with them what they changed."""

from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import NOT_THERE, Command
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.experiment import Experiment
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome
from trialbus.runtime import metrics
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.runtime.metric import Metric
from trialbus.runtime.parts import Parts
from trialbus.testkit.scenario import FAIR, NAMESPACE, experiment_object
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import nonzero
from trialbus_experiment.app.commanding import Commanding

PLAIN = experiment_object("plain", 1, FAIR)
IMPORTED = PLAIN | {
    "metadata": {
        "name": "plain",
        "namespace": NAMESPACE,
        "annotations": {"trialbus.io/trials-by": "import"},
    }
}


class Service:
    def __init__(self, world: StillWorld) -> None:
        self.world = world
        self.parts: Parts = world.parts()
        self.commanding = Commanding(self.parts, installed_catalogue())

    async def ask(self, id_: str, verb: str = "apply", **more: Any) -> None:
        if verb == "apply":
            more = {"object": PLAIN, **more}
        data = Command(id=id_, **more).to_bytes()
        await self.send(verb, data)

    async def send(self, verb: str, data: bytes) -> None:
        subject = subjects.command(NAMESPACE, "plain", verb)
        await self.commanding.respond([Request(subject=subject, data=data)])

    def series(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return nonzero(self.parts.telemetry, metric)

    @property
    def commands(self) -> dict[tuple[str, ...], float]:
        return self.series(metrics.COMMANDS)

    @property
    def state(self) -> Experiment:
        [document] = self.world.store.documents("experiments")
        return EXPERIMENT.decode(document)


@pytest.fixture
async def one() -> Service:
    world = StillWorld()
    await world.prepare()
    return Service(world)


async def test_a_created_experiment_is_counted_once_however_often_it_is_asked_for(
    one: Service,
) -> None:
    await one.ask("c1")
    await one.ask("c1")
    assert one.commands == {("apply", "done"): 1, ("apply", "repeated"): 1}
    assert one.series(metrics.KATIB_EXPERIMENT_CREATED) == {(NAMESPACE,): 1}


async def test_who_is_slower_than_his_own_repeat_creates_nothing(one: Service) -> None:
    """Two replicas take the same command at once."""
    commit = one.parts.store.commit

    async def late(*args: Any) -> list[Outcome]:
        one.parts.store.commit = commit  # type: ignore[method-assign]
        await Service(one.world).ask("c1")
        return await commit(*args)

    one.parts.store.commit = late  # type: ignore[assignment,method-assign]
    await one.ask("c1")
    assert one.commands == {("apply", "repeated"): 1}
    assert one.series(metrics.KATIB_EXPERIMENT_CREATED) == {}


async def test_what_becomes_of_commands(one: Service) -> None:
    await one.ask("c1")
    await one.ask("c2", "suspend")
    await one.ask("c2", "suspend")
    await one.ask("c3", "suspend", uid="somebody else")
    await one.ask("c4", revision=NOT_THERE)
    await one.ask("c5", "edit", edit={"maxTrialCount": -3})
    await one.ask("c6", "delete", dry_run=True)
    await one.ask("c7", "delete")
    await one.ask("c8", "delete")
    await one.send("stop", b"nonsense")
    assert one.commands == {
        ("apply", "done"): 1,
        ("apply", "stale"): 1,
        ("suspend", "done"): 1,
        ("suspend", "repeated"): 1,
        ("suspend", "stale"): 1,
        ("edit", "refused"): 1,
        ("delete", "done"): 1,
        ("delete", "refused"): 1,
        ("unknown", "refused"): 1,
    }


async def test_words_of_workers_are_no_commands(one: Service) -> None:
    await one.send("ask", b"{}")
    assert one.commands == {}


async def test_a_deletion_counts_when_it_is_complete_not_when_it_is_asked_for(
    one: Service,
) -> None:
    await one.ask("c1")
    await one.ask("c2", "delete")
    assert one.state.phase.value == "Deleting"
    assert one.series(metrics.KATIB_EXPERIMENT_DELETED) == {}


async def test_imported_trials_are_trials_for_katib_and_none_that_opened_or_ended_here(
    one: Service,
) -> None:
    trials = [
        {"parameters": {"x": 1}, "value": 0.5},
        {"parameters": {"x": 2}, "state": "Failed"},
    ]
    portion = {"first": 0, "trials": trials, "last": True}
    await one.ask("c1", object=IMPORTED)
    await one.ask("c2", "import", portion=portion)
    await one.ask("c2", "import", portion=portion)
    assert one.commands[("import", "done")] == 1
    assert one.series(metrics.KATIB_TRIAL_CREATED) == {(NAMESPACE,): 2}
    assert one.series(metrics.KATIB_TRIAL_SUCCEEDED) == {(NAMESPACE,): 1}
    assert one.series(metrics.KATIB_TRIAL_FAILED) == {(NAMESPACE,): 1}
    assert one.series(metrics.TRIALS_OPENED) == {}
    assert one.series(metrics.TRIALS_ENDED) == {}
    assert one.series(metrics.EXPERIMENTS_ENDED) == {("Succeeded",): 1}
