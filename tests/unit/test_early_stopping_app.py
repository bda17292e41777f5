"""The stopping service on the store in memory: stored verdicts, repeats, restarts, replicas."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.collections import EVIDENCE, EXPERIMENTS
from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import run_id, trial_name
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.still_world import UID, deleted
from trialbus.testkit.stopping_world import StoppingWorld, react, with_two_completed


async def test_a_bad_trial_gets_a_stored_verdict_with_its_reason_and_evidence() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 9.0, 8.0)
    await world.report(3, 9.0, 1.0)
    assert await react(reactor) == {}
    assert world.verdicts == {
        2: StoppingVerdict(
            rule="medianstop",
            stop=True,
            step=2,
            reason=(
                "best objective 8 by step 2 is worse than 2.5, "
                "the median of the running averages of 2 completed trials"
            ),
            best=8.0,
            median=2.5,
            completed=2,
            watermark=2,
            to_byte=25,
            decided_at=1000.0,
        )
    }
    assert world.evidence[run_id(UID, 3, 1)]["values"] == [9.0, 1.0]


async def test_the_launcher_is_told_once_of_each_verdict() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 9.0, 8.0)
    await world.report(3, 9.0, 9.0)
    for _ in range(3):
        await react(reactor)
    [event] = world.events
    assert (event.type, event.uid, event.reason) == (
        "trial.stop_requested",
        UID,
        "EarlyStopped",
    )
    assert event.data["rule"] == "medianstop"
    told = event.data["trials"]
    assert [it["trial"] for it in told] == [trial_name("tune", UID, index) for index in (2, 3)]
    assert told[0]["step"] == 2
    assert told[0]["evidence"] == {
        "best": 8.0,
        "median": 2.5,
        "completed": 2,
        "watermark": 2,
        "numbers": {},
    }


async def test_repeated_hints_commit_nothing() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 9.0, 8.0)
    await react(reactor)
    before, kept = world.store.writes_by_collection, world.evidence
    for each in (reactor, await world.start("b")):
        assert await react(each) == {}
    assert world.store.writes_by_collection == before
    assert world.evidence == kept


async def test_a_verdict_never_changes_whatever_comes_after_it() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 9.0, 8.0)
    await react(reactor)
    verdicts = world.verdicts
    await world.report(2, 0.0, 0.0, final=True)
    await world.complete(3, 100.0, 100.0)
    for each in (reactor, await world.start("b")):
        await react(each)
    assert world.verdicts == verdicts


async def play(world: StoppingWorld, *, restarts: bool) -> dict[int, StoppingVerdict]:
    """Trials that report and end in turns; between any two the service may be a new one."""
    reactor = await world.start()
    await world.prepare(world.experiment)
    await world.open(0, 1, 2, 3)
    script: list[tuple[int, tuple[float, ...], TrialPhase | None]] = [
        (0, (1.0, 3.0), None),
        (1, (4.0,), None),
        (0, (5.0,), TrialPhase.SUCCEEDED),
        (2, (9.0, 3.5), None),
        (1, (4.0, 4.0), TrialPhase.SUCCEEDED),
        (2, (3.5,), None),
        (3, (7.0, 7.0), None),
        (3, (7.0,), TrialPhase.EARLY_STOPPED),
        (2, (3.5, 3.75), None),
    ]
    for number, (index, losses, phase) in enumerate(script):
        await world.report(index, *losses, final=phase is not None)
        await react(reactor)
        if phase is not None:
            await world.close(index, phase)
        if restarts:
            reactor = await world.start(f"life-{number}")
    await react(reactor)
    return world.verdicts


async def test_a_restarted_service_gives_the_same_verdicts() -> None:
    steady, restarted = StoppingWorld(), StoppingWorld()
    verdicts = await play(steady, restarts=False)
    # Averages 1, 2, 3 and 4, 4, 4: the medians are 2.5, 3, 3.5. Trial 3 is worse at step 2. Trial
    # 2 was judged there when one trial had completed, too few; at step 3 it is not worse.
    assert {index: it.step for index, it in verdicts.items()} == {3: 2}
    assert await play(restarted, restarts=True) == verdicts
    assert _without_versions(restarted) == _without_versions(steady)


def _without_versions(world: StoppingWorld) -> dict[str, dict[str, Any]]:
    return {
        key: {name: value for name, value in document.items() if name != "version"}
        for key, document in world.evidence.items()
    }


async def test_two_replicas_at_once_store_one_verdict() -> None:
    world = await with_two_completed()
    first, second = await world.start("a"), await world.start("b")
    await world.report(2, 9.0, 8.0)
    one, other = await asyncio.gather(react(first), react(second))
    assert not one and not other
    assert world.verdicts.keys() == {2}
    assert world.evidence[run_id(UID, 2, 1)]["version"] == 1
    assert len(world.bus.events) == 1


async def test_a_replica_that_is_behind_takes_what_another_has_stored() -> None:
    world = await with_two_completed()
    first, second = await world.start("a"), await world.start("b")
    await world.report(2, 9.0)
    await react(first)
    await react(second)
    await world.report(2, 2.0)
    await react(first)
    await world.report(2, 2.0)
    assert await react(second) == {}
    assert world.evidence[run_id(UID, 2, 1)]["values"] == [9.0, 2.0, 2.0]


async def test_completed_trials_count_though_nobody_saw_them_run() -> None:
    world = await with_two_completed()
    await world.report(2, 9.0, 8.0)
    await react(await world.start())
    assert world.evidence[run_id(UID, 0, 1)]["values"] == [1.0, 3.0, 5.0]
    assert world.verdicts[2].completed == 2


async def test_stopped_and_failed_trials_only_move_the_watermark() -> None:
    world = await with_two_completed()
    await world.report(3, 0.0, 0.0, final=True)
    await world.close(3, TrialPhase.EARLY_STOPPED)
    await world.report(2, 9.0, 8.0)
    await react(await world.start())
    assert (world.verdicts[2].completed, world.verdicts[2].watermark) == (2, 3)


async def test_a_trial_that_is_not_written_yet_is_waited_for() -> None:
    world = await with_two_completed()
    await world.report(3, 0.0, 0.0, final=True)
    await world.close(3, TrialPhase.SUCCEEDED, written=False)
    await world.open(4)
    await world.complete(5, 50.0, 50.0)
    await world.report(2, 9.0, 8.0)
    reactor = await world.start()
    await react(reactor)
    # Number 4 is there, but number 3 is not: what counts is the part without gaps.
    assert (world.verdicts[2].completed, world.verdicts[2].watermark) == (2, 2)
    await world.write_trial(3, TrialPhase.SUCCEEDED, 3)
    await world.report(4, 99.0, 99.0)
    await react(reactor)
    assert (world.verdicts[4].completed, world.verdicts[4].watermark) == (4, 4)


async def test_a_long_chain_is_read_to_its_end() -> None:
    world = await with_two_completed()
    for _ in range(150):
        await world.report(2, 0.5)
    await react(await world.start())
    assert world.evidence[run_id(UID, 2, 1)]["values"] == [0.5] * 150


async def test_a_run_that_has_ended_by_itself_is_not_stopped() -> None:
    world = await with_two_completed()
    await world.report(2, 9.0, 8.0, final=True)
    await react(await world.start())
    assert not world.verdicts
    assert world.evidence[run_id(UID, 2, 1)]["values"] == [9.0, 8.0]


async def test_an_older_attempt_is_not_judged() -> None:
    world = await with_two_completed()
    await world.open(2, attempt=2)
    await world.report(2, 9.0, 8.0)
    await react(await world.start())
    assert not world.verdicts


@pytest.mark.parametrize(
    "phase", [ExperimentPhase.SUSPENDED, ExperimentPhase.ENDING, ExperimentPhase.SUCCEEDED]
)
async def test_only_a_running_experiment_has_trials_stopped(phase: ExperimentPhase) -> None:
    world = await with_two_completed()
    await world.report(2, 9.0, 8.0)
    await world.change(phase=phase)
    await react(await world.start())
    assert not world.evidence


async def test_an_experiment_without_a_rule_is_left_alone() -> None:
    world = await with_two_completed()
    await world.change(spec=replace(world.experiment.spec, early_stopping=None))
    await world.report(2, 9.0, 8.0)
    reactor = await world.start()
    assert await reactor.sweep() == []
    await react(reactor)
    assert not world.evidence


async def test_chunks_without_the_objective_cost_no_write() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await react(reactor)
    before = world.store.writes_by_collection
    await world.report(2)
    await react(reactor)
    await world.report(2, 0.5)
    await react(reactor)
    after = world.store.writes_by_collection
    # The two reports themselves, and one document of evidence.
    assert after["chunks"] == before["chunks"] + 2
    assert after["evidence"] == before["evidence"] + 1


async def test_a_quiet_look_costs_two_grouped_reads() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 0.5)
    await world.report(3, 0.5)
    await react(reactor)
    world.store.calls.clear()
    await react(reactor)
    assert world.store.calls == {("experiments", "get_many"): 1, ("chunks", "get_many"): 1}
    assert not world.store.full_scans


async def test_the_sweep_finds_what_a_lost_hint_would_have_started() -> None:
    world = await with_two_completed()
    await world.report(2, 9.0, 8.0)
    reactor = await world.start()
    assert await reactor.sweep() == [UID]
    await world.change(active=False)
    assert await reactor.sweep() == []


async def test_a_document_without_a_specification_holds_up_no_sweep() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.insert(EXPERIMENTS.name, {"_id": "broken", "version": 1, "active": True})
    assert await reactor.sweep() == [UID]


async def test_the_evidence_of_a_deleted_experiment_is_removed_though_some_comes_late() -> None:
    world = await with_two_completed()
    reactor = await world.start()
    await world.report(2, 9.0, 8.0)
    await react(reactor)
    late = next(iter(world.evidence.values()))
    await world.put(deleted(world.experiment))
    assert await reactor.sweep() == [UID]
    await react(reactor)
    assert not world.evidence
    assert await reactor.sweep() == []
    await world.insert(EVIDENCE.name, late)
    world.clock.time += LATE_WRITE_S + 1
    await reactor.react(await reactor.sweep())
    assert not world.evidence
    assert await reactor.sweep() == []
