"""A lease as its run's document tells it: begin, renewal, end."""

from dataclasses import replace

from trialbus.kernel.run import Run, RunPhase, RunVerdict, StopReason
from trialbus.kernel.trial import MetricValues
from trialbus_trial_launcher.core.leases import (
    WORKERS,
    Place,
    leased,
    lost,
    never_leased,
    released,
    renewed,
    stopped,
    told,
)

NOW = 1_000.0
PLACE = Place(uid="u", namespace="team", experiment="digits", trial="digits-x", index=3, attempt=2)


def a_lease(lease_s: float = 60.0) -> Run:
    return leased(PLACE, worker="w1", ask="u/a1", lease_s=lease_s, now=NOW)


def test_a_lease_begins_with_a_quarter_more_than_is_promised() -> None:
    run = a_lease()
    assert (run.id, run.host, run.version, run.phase) == ("u.3.2", WORKERS, 1, RunPhase.RUNNING)
    assert run.lease_until == NOW + 75.0
    assert run.leased


def test_a_word_soon_after_another_is_no_write() -> None:
    assert renewed(a_lease(), NOW + 14.9) is None


def test_after_a_quarter_of_the_lease_a_word_is_stored() -> None:
    after = renewed(a_lease(), NOW + 15.0)
    assert after is not None
    assert (after.version, after.lease_until) == (2, NOW + 15.0 + 75.0)


def test_whatever_is_not_stored_a_word_is_worth_a_whole_lease() -> None:
    """The last word came just before it would have been stored."""
    run = a_lease()
    assert renewed(run, NOW + 14.9) is None
    assert run.lease_until is not None
    assert run.lease_until >= NOW + 14.9 + 60.0


def test_a_silent_worker_loses_its_trial() -> None:
    run = lost(a_lease(), NOW + 76.0)
    assert (run.phase, run.version, run.lease_until) == (RunPhase.LOST, 2, None)
    assert run.message == "nothing was heard of worker 'w1' for 60 s"
    assert not run.stop_reason


def test_what_is_given_back_says_so() -> None:
    run = released(a_lease(), NOW)
    assert (run.phase, run.stop_reason) == (RunPhase.LOST, StopReason.RELEASED.value)


def test_a_result_without_reports_is_the_whole_observation() -> None:
    run = told(a_lease(), NOW, succeeded=True, message="", metrics={"loss": 0.5}, reported=False)
    assert (run.phase, run.verdict) == (RunPhase.FINISHED, RunVerdict.SUCCEEDED)
    assert run.told == (MetricValues(name="loss", min=0.5, max=0.5, latest=0.5),)


def test_after_reports_the_chunks_are_the_observation() -> None:
    run = told(a_lease(), NOW, succeeded=True, message="", metrics={"loss": 0.5}, reported=True)
    assert run.told is None


def test_a_failure_keeps_its_reason() -> None:
    run = told(a_lease(), NOW, succeeded=False, message="no GPU", metrics={}, reported=False)
    assert (run.verdict, run.message, run.told) == (RunVerdict.FAILED, "no GPU", ())


def test_who_is_stopped_without_reports_has_observed_nothing() -> None:
    run = stopped(a_lease(), StopReason.GOAL_REACHED.value, NOW, reported=False)
    assert (run.phase, run.stop_reason, run.told) == (RunPhase.FINISHED, "GoalReached", ())
    assert stopped(a_lease(), "x", NOW, reported=True).told is None


def test_what_is_stopped_before_anybody_asked_never_begins() -> None:
    run = never_leased(PLACE, "Suspended", NOW)
    assert run.ended
    assert (run.started_at, run.lease_until, run.ask, run.told) == (None, None, None, ())
    assert run == replace(run, stop_reason="Suspended")
