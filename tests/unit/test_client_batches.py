"""The book-keeping of a worker that leases ahead."""

import pytest

from trialbus.client.batches import TELL_WITHIN_S, Batch
from trialbus.client.held import Held
from trialbus.client.words import Given
from trialbus.contracts.work import Answered, GivenTrial


class Now:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def trial(index: int) -> GivenTrial:
    return GivenTrial(trial=f"t-{index}", attempt=1, index=index, parameters={}, lease=30.0)


def batch(now: Now, ahead: int = 3) -> Batch:
    return Batch(ahead=ahead, lease_s=30.0, worker="me", now=now)


def answered(index: int, refused: str | None = None) -> Answered:
    return Answered(trial=f"t-{index}", attempt=1, accepted=refused is None, refused=refused)


def test_what_is_missing_is_asked_for_under_one_id_until_it_is_answered() -> None:
    found = batch(Now())
    first = found.wanted(5.0)
    assert first is not None
    assert (first.count, first.wait, first.worker) == (3, 5.0, "me")
    again = found.wanted(0.0)
    assert again is not None
    assert (again.id, again.count) == (first.id, 3)
    found.given(Given(trials=(trial(0), trial(1), trial(2))))
    assert found.wanted(0.0) is None
    assert found.take() is not None
    second = found.wanted(0.0)
    assert second is not None
    assert second.id != first.id
    assert second.count == 1


def test_trials_are_worked_on_in_order_but_for_those_that_were_lost() -> None:
    found = batch(Now())
    held = found.given(Given(trials=(trial(0), trial(1), trial(2))))
    held[0].heard(answered(0, "the lease is over"))
    taken = [found.take(), found.take(), found.take()]
    assert taken == [held[1], held[2], None]


def test_results_are_told_within_a_fifth_of_a_second_of_the_oldest() -> None:
    now = Now()
    found = batch(now)
    assert found.tell_at is None
    one, two = found.given(Given(trials=(trial(0), trial(1))))
    found.add(one, one.success({"loss": 1.0}))
    now.at = 100.1
    found.add(two, two.success({"loss": 2.0}))
    assert found.tell_at == 100.0 + TELL_WITHIN_S
    results = found.results
    found.add(late := Held(trial(2)), late.failure("no"))
    found.told(results, [answered(0), answered(1)])
    # What came while they were told is told next.
    assert [held for held, _ in found.results] == [late]
    assert found.tell_at == 100.1 + TELL_WITHIN_S


def test_an_experiment_that_is_over_is_asked_for_nothing() -> None:
    found = batch(Now())
    found.given(Given(trials=(trial(0),), over=True, phase="Succeeded"))
    assert found.wanted(0.0) is None
    assert found.take() is not None
    assert found.phase == "Succeeded"


@pytest.mark.parametrize("ahead", [0, 257])
def test_too_few_or_too_many_ahead_are_refused(ahead: int) -> None:
    with pytest.raises(ValueError, match="ahead is 1 to 256"):
        batch(Now(), ahead)


def test_a_lease_is_renewed_three_times_in_its_time() -> None:
    now = Now()
    held = Held(trial(0), now)
    assert held.beat_at == 110.0
    now.at = 104.0
    held.heard(answered(0))
    assert held.beat_at == 114.0
    held.postpone()
    assert 104.0 < held.beat_at < 107.0


def test_a_worker_says_whether_it_reported() -> None:
    held = Held(trial(0))
    assert held.success({}).reported is False
    report = held.report(1, None, {"loss": 1.0})
    assert held.success({}).reported is None
    held.reported(report)
    assert held.failure("no").reported is True
