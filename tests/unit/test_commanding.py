"""Commands over the bus: accepted means committed, and a late repeat undoes nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import MAX_REMEMBERED_COMMANDS
from trialbus.ports.bus import Request
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.testkit.scenario import FAIR, NAMESPACE, experiment_object
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.app.commanding import Commanding

PLAIN = experiment_object("plain", 1, FAIR)


def changed(**spec: Any) -> dict[str, Any]:
    return {**PLAIN, "spec": {**PLAIN["spec"], **spec}}


class Asking:
    """Somebody who asks one experiment service."""

    def __init__(self, world: StillWorld) -> None:
        self.world = world
        self.commanding = Commanding(world.parts(), installed_catalogue())

    async def ask(
        self,
        id_: str,
        verb: str = "apply",
        object_: Mapping[str, Any] | None = None,
        uid: str | None = None,
    ) -> CommandReply:
        wanted = dict(object_ if object_ is not None else PLAIN) if verb == "apply" else None
        command = Command(id=id_, object=wanted, uid=uid)
        subject = subjects.command(NAMESPACE, "plain", verb)
        [reply] = await self.commanding.respond([Request(subject=subject, data=command.to_bytes())])
        return CommandReply.from_bytes(reply)

    @property
    def states(self) -> list[Experiment]:
        return [EXPERIMENT.decode(it) for it in self.world.store.documents("experiments")]

    @property
    def state(self) -> Experiment:
        [state] = self.states
        return state


@pytest.fixture
async def asking() -> Asking:
    world = StillWorld()
    await world.prepare()
    return Asking(world)


async def test_an_experiment_is_there_when_the_answer_comes(asking: Asking) -> None:
    reply = await asking.ask("c1")
    assert reply.accepted
    assert (reply.id, reply.uid) == ("c1", asking.state.id)
    assert asking.state.phase is Phase.CREATED


async def test_the_same_command_twice_creates_one_experiment(asking: Asking) -> None:
    first, second = await asking.ask("c1"), await asking.ask("c1")
    assert first == second
    assert asking.state.version == 1


async def test_a_late_repeat_of_the_creation_undoes_no_edit(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", object_=changed(maxTrialCount=50))
    assert (await asking.ask("c1")).accepted
    assert asking.state.spec.max_trial_count == 50


async def test_a_late_repeat_of_a_suspension_suspends_nothing(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", "suspend")
    await asking.ask("c3", "resume")
    before = asking.state
    assert (await asking.ask("c2", "suspend")).accepted
    assert asking.state == before


async def test_a_command_without_effect_has_none_when_it_is_repeated_late_either(
    asking: Asking,
) -> None:
    await asking.ask("c1")
    await asking.ask("c2", "resume")
    await asking.ask("c3", "suspend")
    await asking.ask("c2", "resume")
    assert asking.state.phase is Phase.SUSPENDED


async def test_only_the_last_commands_are_remembered(asking: Asking) -> None:
    await asking.ask("c1")
    for number in range(MAX_REMEMBERED_COMMANDS + 3):
        await asking.ask(f"n{number}", object_=changed(maxTrialCount=100 + number))
    assert len(asking.state.commands) == MAX_REMEMBERED_COMMANDS
    assert asking.state.commands[-1] == f"n{MAX_REMEMBERED_COMMANDS + 2}"


async def test_every_problem_is_told(asking: Asking) -> None:
    reply = await asking.ask(
        "c1", object_=changed(parallelTrialCount=0, algorithm={"algorithmName": "nothing"})
    )
    assert not reply.accepted
    assert len(reply.problems) >= 2
    assert all(problem.field.startswith("spec.") for problem in reply.problems)
    assert asking.states == []


@pytest.mark.parametrize("verb", ["suspend", "resume", "delete"])
async def test_what_is_not_there_is_refused(asking: Asking, verb: str) -> None:
    reply = await asking.ask("c1", verb)
    assert [problem.field for problem in reply.problems] == ["metadata.name"]


async def test_a_command_for_a_deleted_namesake_is_stale(asking: Asking) -> None:
    await asking.ask("c1")
    old = asking.state.id
    await asking.ask("c2", "delete", uid=old)
    await asking.ask("c3")
    reply = await asking.ask("c4", "delete", uid=old)
    assert (reply.accepted, reply.stale) == (False, True)
    assert [state.phase for state in asking.states] == [Phase.DELETING, Phase.CREATED]


async def test_a_repeat_of_a_creation_after_the_deletion_is_stale(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", "delete")
    reply = await asking.ask("c1")
    assert (reply.accepted, reply.stale) == (False, True)


async def test_a_name_that_the_object_does_not_have_is_refused(asking: Asking) -> None:
    other = {**PLAIN, "metadata": {"name": "other", "namespace": NAMESPACE}}
    reply = await asking.ask("c1", object_=other)
    assert [problem.field for problem in reply.problems] == ["metadata.name"]


async def test_what_has_ended_is_not_written_for_nothing(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.world.put(replace(asking.state, phase=Phase.SUCCEEDED, active=False))
    before = asking.state
    assert (await asking.ask("c2")).accepted
    assert asking.state == before
