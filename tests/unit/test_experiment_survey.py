"""What the experiment service says there is, and waits: as the store has it, at a price that does
not grow with what is over."""

from dataclasses import replace

import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import ClosingTrial, Counts, ExperimentPhase, OpenState
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query, Write
from trialbus.runtime import metric_labels, metrics
from trialbus.runtime.shared_gauges import MAX_FAILED_LOOKS
from trialbus.testkit.experiment_states import NOW, opened, request, spec
from trialbus.testkit.surveyor import SOME, Surveyor, living, over
from trialbus_experiment.app import living as app_living
from trialbus_experiment.app import surveying
from trialbus_experiment.app.surveying import RECOUNT_S
from trialbus_experiment.core import told_namespaces
from trialbus_experiment.core.stalls import STALLS

P = ExperimentPhase


@pytest.fixture
async def surveyor() -> Surveyor:
    made = Surveyor()
    await made.world.prepare()
    return made


async def test_what_there_is_is_told_by_phase_and_state(surveyor: Surveyor) -> None:
    await surveyor.put(living("a", open=opened(0, 1, 2), counts=SOME, next_index=9, drawn=9))
    await surveyor.put(living("b", phase=P.SUSPENDED, open=opened(0, state=OpenState.PAUSED)))
    await surveyor.put(over("c"))
    await surveyor.put(over("d", P.FAILED, counts=Counts(failed=5)))
    await surveyor.put(over("e", P.ARCHIVED))
    await surveyor.put(over("f", P.DELETED))
    await surveyor.run("a", 0)
    await surveyor.run("a", 1, phase=RunPhase.FINISHED, exit_code=0, finished_at=NOW)
    await surveyor.look()
    assert surveyor.series(metrics.EXPERIMENTS) == {
        ("Running",): 1,
        ("Suspended",): 1,
        ("Succeeded",): 1,
        ("Failed",): 1,
        ("Archived",): 1,
    }
    # Trial 1 runs until it is counted.
    assert surveyor.series(metrics.TRIALS) == {
        ("Running",): 2,
        ("Pending",): 2,
        ("Succeeded",): 6,
        ("Failed",): 7,
        ("EarlyStopped",): 4,
    }


async def test_katib_counts_by_namespace_and_newest_condition(surveyor: Surveyor) -> None:
    created = set_condition((), "Created", reason="", message="", now=0.0)
    await surveyor.put(living("a", open=opened(0, 1), counts=Counts(killed=1)))
    await surveyor.put(living("b", namespace="other", phase=P.CREATED, conditions=created))
    restarting = set_condition(living("c").conditions, "Restarting", reason="", message="", now=2.0)
    await surveyor.put(living("c", namespace="other", conditions=restarting))
    await surveyor.put(living("d", conditions=()))
    await surveyor.put(living("e", phase=P.DELETING, alive_name=None, open=opened(0)))
    await surveyor.put(over("f", namespace="other", counts=Counts(metrics_unavailable=2)))
    await surveyor.put(over("g", P.ARCHIVED))
    await surveyor.run("a", 0)
    await surveyor.look()
    assert surveyor.series(metrics.KATIB_EXPERIMENTS) == {
        ("ns", "Running"): 1,
        ("other", "Created"): 1,
        ("other", "Restarting"): 1,
        ("ns", "Unknown"): 1,
        ("other", "Succeeded"): 1,
    }
    assert surveyor.series(metrics.KATIB_TRIALS) == {
        ("ns", "Running"): 1,
        ("ns", "Created"): 1,
        ("ns", "Killed"): 1,
        ("other", "MetricsUnavailable"): 2,
    }


async def test_points_ahead_are_those_of_experiments_that_may_open_trials(
    surveyor: Surveyor,
) -> None:
    await surveyor.put(living("a", drawn=9, next_index=4))
    await surveyor.put(living("b", drawn=3, next_index=1))
    await surveyor.put(living("c", phase=P.ENDING, drawn=7, next_index=1))
    await surveyor.look()
    assert surveyor.told(metrics.POINTS_AHEAD) == 7


async def test_a_stall_is_told_with_its_reason_while_it_lasts(surveyor: Surveyor) -> None:
    for uid, reason, since in (
        ("a", "LaunchStalled", NOW - 50),
        ("b", "LaunchStalled", NOW - 10),
        ("c", "BusUnavailable", NOW - 20),
    ):
        stalled = set_condition((), "Running", reason=reason, message="", now=since)
        await surveyor.put(living(uid, conditions=stalled))
    await surveyor.look()
    assert surveyor.series(metrics.STALLED) == {("LaunchStalled",): 2, ("BusUnavailable",): 1}
    assert surveyor.told(metrics.OLDEST_STALL) == 50
    for uid in "abc":
        await surveyor.put(living(uid))
    await surveyor.look()
    assert surveyor.series(metrics.STALLED) == {}
    assert surveyor.told(metrics.OLDEST_STALL) == 0


def test_every_reason_of_a_stall_is_a_value_of_the_label() -> None:
    assert set(metric_labels.STALL.values) == STALLS


async def test_the_oldest_waits_are_told_by_what_is_awaited(surveyor: Surveyor) -> None:
    asks = (request(1, got=10), request(2, asked_at=NOW - 8))
    await surveyor.put(living("a", requests=asks, open=opened(0, 1, at=NOW - 30)))
    await surveyor.put(living("b", requests=(request(1, asked_at=NOW - 3),)))
    workers = spec(trials_by=TrialsBy.WORKERS)
    await surveyor.put(living("c", spec=workers, open=opened(0, at=NOW - 200)))
    await surveyor.put(living("d", open=opened(0, at=NOW - 900, stop="GoalReached")))
    await surveyor.run("a", 0)
    await surveyor.look()
    assert surveyor.series(metrics.OLDEST_WAIT) == {
        ("points",): 8,
        ("launch",): 30,
        ("worker",): 200,
    }
    await surveyor.run("a", 1)
    await surveyor.look(later_s=1)
    assert surveyor.told(metrics.OLDEST_WAIT, awaited="launch") == 0


async def test_what_ends_restarts_and_goes_is_followed(surveyor: Surveyor) -> None:
    await surveyor.put(living("a", counts=Counts(succeeded=1)))
    await surveyor.look()
    await surveyor.put(over("a", completed_at=NOW + 12, counts=Counts(succeeded=2)))
    await surveyor.look(later_s=12)
    assert surveyor.series(metrics.EXPERIMENTS) == {("Succeeded",): 1}
    assert surveyor.series(metrics.TRIALS) == {("Succeeded",): 2}
    await surveyor.put(living("a", counts=Counts(succeeded=3)))
    await surveyor.look(later_s=12)
    assert surveyor.series(metrics.EXPERIMENTS) == {("Running",): 1}
    assert surveyor.series(metrics.TRIALS) == {("Succeeded",): 3}
    await surveyor.put(over("a", completed_at=NOW + 36, counts=Counts(succeeded=4)))
    await surveyor.look(later_s=12)
    assert surveyor.series(metrics.TRIALS) == {("Succeeded",): 4}
    await surveyor.put(over("a", P.DELETED, completed_at=NOW + 48))
    await surveyor.look(later_s=12)
    assert surveyor.series(metrics.EXPERIMENTS) == {}
    assert surveyor.series(metrics.TRIALS) == {}
    assert surveyor.series(metrics.KATIB_TRIALS) == {}


async def test_what_other_processes_tell_late_is_counted(surveyor: Surveyor) -> None:
    """Its clock, and its commit, may be behind."""
    await surveyor.look()
    await surveyor.look(later_s=30)
    await surveyor.put(over("late", completed_at=NOW + 30 - LATE_WRITE_S / 2))
    await surveyor.look(later_s=12)
    assert surveyor.series(metrics.EXPERIMENTS) == {("Succeeded",): 1}


async def test_what_no_look_has_seen_go_is_put_right_in_ten_minutes(surveyor: Surveyor) -> None:
    """Its tombstone may have gone, too, while this process stood still."""
    await surveyor.put(over("a"))
    await surveyor.look()
    await surveyor.parts.store.delete(EXPERIMENTS.name, Query(prefix="a"))
    await surveyor.look(later_s=RECOUNT_S - 1)
    assert surveyor.series(metrics.EXPERIMENTS) == {("Succeeded",): 1}
    await surveyor.look(later_s=1)
    assert surveyor.series(metrics.EXPERIMENTS) == {}


async def test_however_many_end_at_one_instant_all_are_counted(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveying, "_PAGE_EXPERIMENTS", 4)
    for number in range(23):
        at = NOW if number < 15 else NOW + number
        await surveyor.put(over(f"x{number}", completed_at=at))
    await surveyor.look()
    assert surveyor.series(metrics.EXPERIMENTS) == {("Succeeded",): 23}


async def test_a_look_reads_nothing_of_what_was_over_before(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price of a look, in documents that the store gives back."""
    old = [over(f"old{n}", version=1, completed_at=NOW - 500) for n in range(300)]
    writes = [Write(base=None, document=EXPERIMENT.encode(it)) for it in old]
    await surveyor.parts.store.commit(EXPERIMENTS.name, writes)
    await surveyor.put(living("a", open=opened(0), version=1))
    await surveyor.look()
    await surveyor.put(over("new", completed_at=NOW + 120, version=1))
    surveyor.watch(monkeypatch)
    await surveyor.look(later_s=2 * LATE_WRITE_S)
    assert {it["_id"] for it in surveyor.read} == {"a", "new"}
    # Who takes its trials is known since the look before.
    assert not any("spec" in it for it in surveyor.read)
    assert surveyor.told(metrics.EXPERIMENTS, state="Succeeded") == 301


async def test_what_lives_is_read_in_pages_and_all_of_it_told(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_living, "_PAGE", 4)
    workers = spec(trials_by=TrialsBy.WORKERS)
    for number in range(11):
        await surveyor.put(living(f"x{number}", spec=workers, open=opened(0, at=NOW - number)))
    for _ in range(2):
        await surveyor.look()
        assert surveyor.series(metrics.EXPERIMENTS) == {("Running",): 11}
        assert surveyor.series(metrics.OLDEST_WAIT) == {("worker",): 10}


async def test_what_ended_at_another_replica_is_not_remembered_here(surveyor: Surveyor) -> None:
    before = living("a", spec=spec(parallel_trial_count=1), open=opened(0), next_index=1)
    closing = ClosingTrial(
        attempt=1,
        request=1,
        phase=TrialPhase.SUCCEEDED,
        finished=1,
        reason="TrialSucceeded",
        message="",
        closed_at=NOW,
    )
    left = replace(before, open={}, closing={"0": closing}, counts=Counts(succeeded=1))
    await surveyor.put(left)
    surveyor.counting.committed(before, left)
    await surveyor.look()
    assert surveyor.counting.remembered == {"a"}
    await surveyor.put(over("a"))
    await surveyor.look(later_s=12)
    assert surveyor.counting.remembered == set()


async def test_of_very_many_namespaces_the_further_ones_are_told_together(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users choose the names."""
    monkeypatch.setattr(told_namespaces, "MAX_TOLD_NAMESPACES", 2)
    for name in "dcba":
        created = living(name, namespace=name, open=opened(0, 1))
        await surveyor.put(created)
        surveyor.counting.committed(None, created)
    for _ in range(2):
        await surveyor.look()
        # Of what there is every replica tells the same.
        assert surveyor.series(metrics.KATIB_EXPERIMENTS) == {
            ("a", "Running"): 1,
            ("b", "Running"): 1,
            ("_other", "Running"): 2,
        }
        assert surveyor.series(metrics.KATIB_TRIALS) == {
            ("a", "Created"): 2,
            ("b", "Created"): 2,
            ("_other", "Created"): 4,
        }
    # Of what happens those that this one has seen first.
    assert surveyor.series(metrics.KATIB_EXPERIMENT_CREATED) == {
        ("d",): 1,
        ("c",): 1,
        ("_other",): 2,
    }


async def test_an_unreadable_document_keeps_no_other_from_being_counted(
    surveyor: Surveyor,
) -> None:
    await surveyor.put(living("a"))
    broken = EXPERIMENT.encode(living("b", version=1)) | {"counts": "many"}
    await surveyor.world.insert(EXPERIMENTS.name, broken)
    await surveyor.look()
    assert surveyor.series(metrics.EXPERIMENTS) == {("Running",): 1}


async def test_the_first_failure_in_a_namespace_is_an_increase(surveyor: Surveyor) -> None:
    assert surveyor.told(metrics.KATIB_TRIAL_FAILED, namespace="ns") is None
    await surveyor.put(living("a"))
    await surveyor.look()
    for metric in (metrics.KATIB_TRIAL_FAILED, metrics.KATIB_EXPERIMENT_DELETED):
        assert surveyor.told(metric, namespace="ns") == 0


async def test_a_replica_that_the_store_does_not_answer_tells_no_old_numbers(
    surveyor: Surveyor,
) -> None:
    """Of what replicas tell the largest counts: it would go on with a stall that is over."""
    stalled = set_condition((), "Running", reason="LaunchStalled", message="", now=NOW)
    await surveyor.put(living("a", conditions=stalled))
    await surveyor.look()
    gauges = [it for it in metrics.ALL if it.shared and "experiment" in it.services]
    names = {it.name for it in gauges}

    def told_now() -> set[str]:
        found = surveyor.parts.telemetry.registry.collect()
        return {it.name for family in found for it in family.samples} & names

    everything = told_now()
    assert everything >= {metrics.STALLED.name, metrics.OLDEST_STALL.name}
    surveyor.world.store.available = False
    for _ in range(MAX_FAILED_LOOKS - 1):
        with pytest.raises(Transient):
            await surveyor.look(later_s=12)
    assert told_now() == everything
    with pytest.raises(Transient):
        await surveyor.look(later_s=12)
    assert told_now() == set()
    surveyor.world.store.available = True
    await surveyor.look(later_s=12)
    assert told_now() == everything
    assert surveyor.told(metrics.STALLED, reason="LaunchStalled") == 1
