"""Commands over the bus: accepted means committed, and a late repeat undoes nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import NOT_THERE, Command
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import CommandReply, decode_event
from trialbus.contracts.work import WorkVerb
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
        **more: Any,
    ) -> CommandReply:
        wanted = dict(object_ if object_ is not None else PLAIN) if verb == "apply" else None
        command = Command(id=id_, object=wanted, **more)
        subject = subjects.command(NAMESPACE, "plain", verb)
        [reply] = await self.commanding.respond([Request(subject=subject, data=command.to_bytes())])
        return CommandReply.from_bytes(reply or b"")

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


@pytest.mark.parametrize("verb", ["apply", "suspend", "delete"])
async def test_a_command_for_what_is_deleted_by_now_is_stale(asking: Asking, verb: str) -> None:
    await asking.ask("c1")
    old = asking.state.id
    await asking.ask("c2", "delete", uid=old)
    reply = await asking.ask("c3", verb, uid=old)
    assert (reply.accepted, reply.stale) == (False, True)
    assert [state.phase for state in asking.states] == [Phase.DELETING]


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


async def test_a_repeated_deletion_spares_the_namesake(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", "delete")
    await asking.ask("c3")
    reply = await asking.ask("c2", "delete")
    gone, namesake = asking.states
    assert (reply.accepted, reply.uid) == (True, gone.id)
    assert (gone.phase, namesake.phase) == (Phase.DELETING, Phase.CREATED)


async def test_a_repeated_creation_or_edit_spares_the_namesake(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", object_=changed(maxTrialCount=50))
    await asking.ask("c3", "delete")
    await asking.ask("c4")
    assert (await asking.ask("c1", object_=changed(maxTrialCount=40))).stale
    assert (await asking.ask("c2", object_=changed(maxTrialCount=50))).accepted
    assert asking.states[1].spec.max_trial_count == PLAIN["spec"]["maxTrialCount"]


# Revisions, dry runs, metadata -----------------------------------------------------------------


async def test_an_edit_of_what_somebody_has_edited_since_is_stale(asking: Asking) -> None:
    await asking.ask("c1")
    assert asking.state.revision == 1
    first = await asking.ask("c2", object_=changed(maxTrialCount=50), revision=1)
    second = await asking.ask("c3", object_=changed(maxTrialCount=60), revision=1)
    assert (first.accepted, second.accepted, second.stale) == (True, False, True)
    assert (asking.state.spec.max_trial_count, asking.state.revision) == (50, 2)


async def test_only_creating_leaves_what_is_there(asking: Asking) -> None:
    first = await asking.ask("c1", revision=NOT_THERE)
    assert (await asking.ask("c1", revision=NOT_THERE)) == first
    second = await asking.ask("c2", object_=changed(maxTrialCount=50), revision=NOT_THERE)
    assert (first.accepted, second.stale) == (True, True)
    assert asking.state.spec.max_trial_count == PLAIN["spec"]["maxTrialCount"]


async def test_only_editing_creates_nothing(asking: Asking) -> None:
    assert not (await asking.ask("c1", revision=3)).accepted
    assert asking.states == []


@pytest.mark.parametrize("verb", ["apply", "suspend", "delete"])
async def test_a_dry_run_judges_and_writes_nothing(asking: Asking, verb: str) -> None:
    await asking.ask("c1")
    before = asking.state
    reply = await asking.ask("c2", verb, changed(maxTrialCount=50), dry_run=True)
    assert (reply.accepted, reply.changed, reply.uid) == (True, True, before.id)
    assert asking.state == before
    wrong = await asking.ask("c3", object_=changed(maxTrialCount=0), dry_run=True)
    assert [problem.field for problem in wrong.problems] == ["spec.maxTrialCount"]


async def test_a_dry_run_of_a_creation_creates_nothing(asking: Asking) -> None:
    assert (await asking.ask("c1", dry_run=True)).accepted
    assert asking.states == []


async def test_whether_something_changed_is_said(asking: Asking) -> None:
    replies = [
        await asking.ask("c1"),
        await asking.ask("c2"),
        await asking.ask("c3", object_=changed(maxTrialCount=50)),
        await asking.ask("c4", "resume"),
    ]
    assert [reply.changed for reply in replies] == [True, False, True, False]


async def test_an_unchanged_object_changes_nothing_after_the_suspension_of_what_is_over(
    asking: Asking,
) -> None:
    await asking.ask("c1")
    await asking.world.put(replace(asking.state, phase=Phase.SUCCEEDED, active=False))
    assert not (await asking.ask("c2", "suspend")).changed
    assert not (await asking.ask("c3")).changed


def marked(**metadata: Any) -> dict[str, Any]:
    return {**PLAIN, "metadata": {**PLAIN["metadata"], **metadata}}


async def test_a_file_leaves_the_marks_of_others_and_withdraws_its_orders(asking: Asking) -> None:
    order = {"trialbus.io/at-goal": "drain"}
    await asking.ask("c1", object_=marked(annotations={**order, "by": "me"}, labels={"a": "1"}))
    assert asking.state.spec.at_goal.value == "drain"
    await asking.ask("c2", object_=marked(labels={"b": "2"}))
    metadata = asking.state.source["metadata"]
    assert metadata["labels"] == {"a": "1", "b": "2"}
    assert metadata["annotations"] == {"by": "me"}
    assert asking.state.spec.at_goal.value == "stop"


async def test_an_exact_object_is_all_there_is(asking: Asking) -> None:
    await asking.ask("c1", object_=marked(labels={"a": "1"}, annotations={"by": "me"}))
    owners = [{"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:labels": {"f:b.c": {}}}}}]
    exact = marked(labels={"b.c": "2"})
    await asking.ask("c2", object_=exact, exact=True, managed_fields=owners)
    metadata = asking.state.source["metadata"]
    assert (metadata["labels"], metadata["managedFields"]) == ({"b.c": "2"}, owners)
    assert "annotations" not in metadata
    # Who owns what survives those who do not care.
    await asking.ask("c3", object_=changed(maxTrialCount=50))
    assert asking.state.source["metadata"]["managedFields"] == owners


async def test_a_deletion_may_ask_for_the_history(asking: Asking) -> None:
    await asking.ask("c1")
    await asking.ask("c2", "delete", keep_history=True)
    assert asking.state.keep_history


async def test_an_edit_changes_budgets_without_the_whole_object(asking: Asking) -> None:
    await asking.ask("c1")
    reply = await asking.ask("c2", "edit", edit={"maxTrialCount": 40, "goal": 0.5})
    assert (reply.accepted, reply.changed) == (True, True)
    assert asking.state.spec.max_trial_count == 40
    assert asking.state.spec.objective.goal == 0.5
    assert asking.state.source["spec"]["maxTrialCount"] == 40
    await asking.ask("c3", "edit", edit={"goal": None})
    assert asking.state.spec.objective.goal is None
    assert asking.state.spec.max_trial_count == 40
    # A late repeat undoes nothing.
    await asking.ask("c2", "edit", edit={"maxTrialCount": 40, "goal": 0.5})
    assert asking.state.spec.objective.goal is None


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({"algorithm": {}}, "edit.algorithm"),
        ({"maxTrialCount": "many"}, "spec.maxTrialCount"),
        ({"parallelTrialCount": 0}, "spec.parallelTrialCount"),
        ({}, "edit"),
        (None, "edit"),
    ],
)
async def test_a_wrong_edit_changes_nothing_and_says_why(
    asking: Asking, edit: dict[str, Any] | None, field: str
) -> None:
    await asking.ask("c1")
    before = asking.state
    reply = await asking.ask("c2", "edit", edit=edit)
    assert [it.field for it in reply.problems] == [field]
    assert asking.state == before


async def test_who_stops_an_experiment_ends_it_with_what_it_has(asking: Asking) -> None:
    await asking.ask("c1")
    assert (await asking.ask("c2", "stop")).accepted
    state = asking.state
    assert state.phase is Phase.ENDING
    assert state.verdict is not None
    assert (state.verdict.phase, state.verdict.reason) == (Phase.FAILED, "ExperimentStopped")
    again = await asking.ask("c3", "stop")
    assert (again.accepted, again.changed) == (True, False)


async def as_event(
    asking: Asking, verb: str, event: Mapping[str, Any], *, binary: bool = False
) -> CommandReply:
    whole = {"specversion": "1.0", "source": "/ci", "type": f"io.trialbus.experiment.{verb}.v1"}
    whole |= event
    if binary:
        headers = {f"ce-{name}": str(it) for name, it in whole.items() if name != "data"}
        data = json.dumps(whole.get("data")).encode()
    else:
        headers = {"Content-Type": "application/cloudevents+json"}
        data = json.dumps(whole).encode()
    subject = subjects.command(NAMESPACE, "plain", verb)
    [reply] = await asking.commanding.respond(
        [Request(subject=subject, data=data, headers=headers)]
    )
    return CommandReply.from_bytes(reply or b"")


@pytest.mark.parametrize("binary", [False, True])
async def test_any_client_of_the_bus_commands_by_cloud_events(asking: Asking, binary: bool) -> None:
    name = f"{NAMESPACE}/plain"
    created = await as_event(asking, "create", {"id": "e1", "data": PLAIN}, binary=binary)
    assert (created.accepted, created.id, created.uid) == (True, "e1", asking.state.id)
    again = await as_event(asking, "create", {"id": "e1", "data": PLAIN}, binary=binary)
    assert again == created
    another = await as_event(asking, "create", {"id": "e2", "data": PLAIN}, binary=binary)
    assert (another.accepted, another.stale) == (False, True)
    edit = {"id": "e3", "subject": name, "data": {"maxTrialCount": 50}}
    assert (await as_event(asking, "edit", edit, binary=binary)).accepted
    assert asking.state.spec.max_trial_count == 50
    assert (await as_event(asking, "suspend", {"id": "e4", "subject": name})).accepted
    assert asking.state.phase is Phase.SUSPENDED


async def test_a_refused_command_is_told_on_the_bus(asking: Asking) -> None:
    told = asking.world.bus.client("listener")
    async with told.tail(subjects.events(event_type="command.refused"), from_start=True) as events:
        reply = await as_event(asking, "stop", {"id": "e1", "subject": "other/plain"})
        assert [it.field for it in reply.problems] == ["subject"]
        message = await anext(aiter(events))
    event = decode_event(message)
    assert (event.experiment, event.reason) == ("plain", "CommandRefused")
    assert event.data["verb"] == "stop"
    assert "the message's subject says stop" in event.message


@pytest.mark.parametrize("verb", WorkVerb)
async def test_words_of_workers_are_left_to_who_serves_them(asking: Asking, verb: WorkVerb) -> None:
    subject = subjects.command(NAMESPACE, "plain", verb)
    stop = subjects.command(NAMESPACE, "plain", "stop")
    requests = [Request(subject=it, data=b"{}") for it in (subject, stop, subject)]
    unanswered, refused, again = await asking.commanding.respond(requests)
    assert (unanswered, again) == (None, None)
    assert not CommandReply.from_bytes(refused or b"").accepted
