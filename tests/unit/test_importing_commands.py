"""The command `import` over the bus: documents first, counted after, and a crash in between."""

from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.trial import Trial
from trialbus.ports.bus import Request
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.testkit.scenario import FAIR, NAMESPACE, experiment_object
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.app.commanding import Commanding


class Importer:
    def __init__(self, world: StillWorld) -> None:
        self.world = world
        self.commanding = Commanding(world.parts(), installed_catalogue())
        self._sent = 0

    async def ask(self, verb: str, **fields: Any) -> CommandReply:
        self._sent += 1
        command = Command(id=f"c{self._sent}", **fields)
        subject = subjects.command(NAMESPACE, "plain", verb)
        [reply] = await self.commanding.respond([Request(subject=subject, data=command.to_bytes())])
        return CommandReply.from_bytes(reply or b"")

    async def tell(self, first: int, *values: Any, last: bool = False) -> CommandReply:
        trials = [{"parameters": {"x": 0.5 * it}, "value": it} for it in values]
        return await self.ask("import", portion={"first": first, "trials": trials, "last": last})

    @property
    def state(self) -> Experiment:
        [state] = [EXPERIMENT.decode(it) for it in self.world.store.documents("experiments")]
        return state

    @property
    def trials(self) -> list[Trial]:
        return [TRIAL.decode(it) for it in self.world.store.documents("trials")]


@pytest.fixture
async def importer() -> Importer:
    world = StillWorld()
    await world.prepare()
    importer = Importer(world)
    made = experiment_object("plain", 1, FAIR)
    made["metadata"]["annotations"] = {"trialbus.io/trials-by": "import"}
    assert (await importer.ask("apply", object=made)).accepted
    return importer


async def test_portions_become_an_experiment_that_has_ended(importer: Importer) -> None:
    assert (await importer.tell(0, 0.5, 0.25)).accepted
    assert (await importer.tell(2, 1.5, last=True)).accepted
    assert (importer.state.phase, importer.state.finished) == (Phase.SUCCEEDED, 3)
    assert sorted((it.finished, it.value) for it in importer.trials) == [
        (1, 0.5),
        (2, 0.25),
        (3, 1.5),
    ]


async def test_a_portion_told_again_under_another_id_changes_nothing(importer: Importer) -> None:
    await importer.tell(0, 0.5, float("nan"))
    counts = importer.state.counts
    assert (await importer.tell(0, 0.5, float("nan"))).accepted
    await importer.tell(2, 1.5, last=True)
    over = importer.state
    again = await importer.tell(2, 1.5, last=True)
    assert (again.accepted, again.changed) == (True, False)
    assert (importer.state, counts.succeeded) == (over, 2)


async def test_other_trials_than_those_that_are_there_are_refused(importer: Importer) -> None:
    await importer.tell(0, 0.5)
    reply = await importer.tell(0, 0.75)
    assert not reply.accepted
    assert "trial 0 is there with other content" in reply.problems[0].message
    assert [it.value for it in importer.trials] == [0.5]


async def test_what_a_crash_left_uncounted_is_seen_by_nobody_and_counted_by_the_repeat(
    importer: Importer,
) -> None:
    writing = importer.commanding._importing
    portion = {"first": 0, "trials": [{"parameters": {"x": 0.25}, "value": 0.5}]}
    [document] = importer.world.store.documents("experiments")
    await writing.write(Command(id="lost", portion=portion), document)
    assert (len(importer.trials), importer.state.finished) == (1, 0)
    assert (await importer.tell(0, 0.5, last=True)).accepted
    assert (len(importer.trials), importer.state.finished) == (1, 1)


async def test_a_dry_run_writes_nothing(importer: Importer) -> None:
    portion = {"first": 0, "trials": [{"parameters": {"x": 0.25}, "value": 0.5}]}
    assert (await importer.ask("import", portion=portion, dry_run=True)).accepted
    assert (importer.trials, importer.state.finished) == ([], 0)


async def test_an_experiment_that_runs_takes_no_trials(importer: Importer) -> None:
    await importer.ask("delete")
    made = experiment_object("plain", 1, FAIR)
    await importer.ask("apply", object=made)
    reply = await importer.tell(0, 0.5)
    assert "only with `import`" in reply.problems[0].message
