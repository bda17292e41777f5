"""What the experiment service says of trials that fail and that say nothing: of all experiments in
one number, at a price that does not grow with them."""

import pytest

from trialbus.contracts.collections import CHUNKS
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Counts, ExperimentPhase
from trialbus.kernel.run import RunPhase
from trialbus.ports.store import Document, Query
from trialbus.runtime import metrics
from trialbus.testkit.experiment_states import NOW, opened
from trialbus.testkit.surveyor import Surveyor, living, over
from trialbus_experiment.core import silence
from trialbus_experiment.core.silence import ASK_AGAIN_S, SILENT_S

P = ExperimentPhase


@pytest.fixture
async def surveyor() -> Surveyor:
    made = Surveyor()
    await made.world.prepare()
    return made


async def test_an_experiment_whose_trials_fail_is_seen_among_many_that_do_well(
    surveyor: Surveyor,
) -> None:
    for number in range(30):
        await surveyor.put(living(f"good{number}", counts=Counts(succeeded=90, failed=10)))
    await surveyor.put(living("bad", counts=Counts(failed=8, metrics_unavailable=2)))
    await surveyor.put(living("young", counts=Counts(failed=9)))
    await surveyor.put(over("ended", P.FAILED, counts=Counts(failed=50)))
    await surveyor.put(living("waits", phase=P.SUSPENDED, counts=Counts(failed=50)))
    await surveyor.look()
    assert surveyor.told(metrics.FAILING) == 1
    await surveyor.put(living("young", counts=Counts(failed=10)))
    await surveyor.look(later_s=12)
    assert surveyor.told(metrics.FAILING) == 2


async def test_whether_trials_fail_is_said_of_the_last_ones(surveyor: Surveyor) -> None:
    await surveyor.put(living("a", counts=Counts(succeeded=1000)))
    await surveyor.look()
    assert surveyor.told(metrics.FAILING) == 0
    for succeeded, failed, fails in (
        (1000, 9, 0),
        # 10 more have ended, all of which failed.
        (1000, 10, 1),
        # 9 more are too few to take that back; of 10 more 5 failed, which are not most.
        (1005, 14, 1),
        (1005, 15, 0),
        (1020, 15, 0),
    ):
        counts = Counts(succeeded=succeeded, failed=failed)
        await surveyor.put(living("a", counts=counts))
        await surveyor.look(later_s=12)
        assert surveyor.told(metrics.FAILING) == fails, counts


async def test_a_running_trial_that_reports_nothing_is_told_with_its_silence(
    surveyor: Surveyor,
) -> None:
    await surveyor.put(living("a", open=opened(0, 1, 2, 3, 4)))
    began = NOW - SILENT_S + 20
    for index in range(4):
        await surveyor.run("a", index, started_at=began)
    await surveyor.report("a", 1, at=began + 5)
    await surveyor.report("a", 1, at=NOW + 10, place=7)
    await surveyor.run("a", 4, started_at=began, phase=RunPhase.FINISHED, finished_at=NOW)
    await surveyor.look()
    assert surveyor.told(metrics.SILENT_TRIALS) == surveyor.told(metrics.OLDEST_SILENCE) == 0
    # Trial 1 has reported, 4 is over and waits to be counted.
    await surveyor.look(later_s=30)
    assert surveyor.told(metrics.SILENT_TRIALS) == 3
    assert surveyor.told(metrics.OLDEST_SILENCE) == SILENT_S + 10
    await surveyor.report("a", 0, at=NOW + 30 + ASK_AGAIN_S)
    await surveyor.report("a", 2, at=NOW + 30 + ASK_AGAIN_S)
    await surveyor.look(later_s=ASK_AGAIN_S)
    assert surveyor.told(metrics.SILENT_TRIALS) == 1
    await surveyor.put(living("a", open=opened(1)))
    await surveyor.look(later_s=12)
    assert surveyor.told(metrics.SILENT_TRIALS) == surveyor.told(metrics.OLDEST_SILENCE) == 0


async def test_after_silent_trials_a_look_asks_no_more_often_than_it_must(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "MAX_ASKED", 3)
    await surveyor.put(living("a", open=opened(*range(5))))
    for index in range(5):
        await surveyor.run("a", index, started_at=NOW - SILENT_S - index)
        await surveyor.report("a", index, at=NOW - SILENT_S - index)
    surveyor.watch(monkeypatch)
    asked = []
    for later_s in (0, 12, 12, ASK_AGAIN_S):
        surveyor.read.clear()
        await surveyor.look(later_s=later_s)
        asked.append(sum("stored_at" in it for it in surveyor.read))
    # Nobody is left out for the others' sake; that none is due costs nothing.
    assert asked == [3, 2, 0, 3]
    assert surveyor.told(metrics.SILENT_TRIALS) == 5


async def test_what_waits_is_told_before_silent_trials_are_asked_after(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts(failed=10)
    await surveyor.put(living("a", open=opened(0), counts=counts))
    await surveyor.run("a", 0, started_at=NOW - SILENT_S)
    find = surveyor.parts.store.find

    async def finding(collection: str, query: Query) -> list[Document]:
        """As if it took for ever."""
        if collection == CHUNKS.name:
            assert surveyor.series(metrics.EXPERIMENTS) == {("Running",): 1}
            assert surveyor.told(metrics.FAILING) == 1
            raise Transient("late")
        return await find(collection, query)

    monkeypatch.setattr(surveyor.parts.store, "find", finding)
    with pytest.raises(Transient):
        await surveyor.look()
