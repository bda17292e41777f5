"""Whose fault the end of an object with several pods was: the user's, or the cluster's."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.shipping import EXIT_REFUSED, EXIT_UNANSWERED, Termination
from trialbus.kernel.limits import CLUSTER_STOP_DEADLINE_S
from trialbus.kernel.run import RunVerdict
from trialbus_trial_launcher.app.cluster.object_ends import (
    ObjectSight,
    cut_off,
    end_of,
    is_inconclusive,
)
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight, pod_sight

FAILED = ObjectSight(
    run="u.0.1", verdict=RunVerdict.FAILED, reason="BackoffLimitExceeded", over=True, is_job=True
)


def pod(
    name: str,
    code: int | None,
    at: float | None = None,
    *,
    deleted: bool = False,
    primary: bool = True,
) -> PodSight:
    return PodSight(
        run="u.0.1",
        name=name,
        primary=primary,
        over=True,
        deleted=deleted,
        exit_code=code,
        finished_at=at,
    )


@pytest.mark.parametrize(
    ("pods", "lost", "code"),
    [
        # One fails; its Job deletes the other one, which ends by the signal, or does not say how.
        ([pod("a", 1, 10.0), pod("b", 143, 12.0, deleted=True)], False, 1),
        ([pod("a", 1, 10.0), pod("b", 143, 10.0, deleted=True)], False, 1),
        ([pod("a", 1, 10.0), pod("b", None, deleted=True)], False, 1),
        # The same of one whose end does not count: only the labelled one's code is told.
        ([pod("a", 1, 10.0, primary=False), pod("b", None, deleted=True)], False, None),
        # Somebody deletes one, and the other one fails for want of it.
        ([pod("a", 143, 10.0, deleted=True), pod("b", 1, 40.0)], True, None),
        ([pod("a", 143, 10.0, deleted=True), pod("b", 143, 11.0, deleted=True)], True, None),
        ([pod("a", 143, 10.0, deleted=True)], True, None),
        ([pod("a", 2, 10.0)], False, 2),
    ],
)
def test_what_failed_first_says_whether_the_run_is_lost(
    pods: list[PodSight], lost: bool, code: int | None
) -> None:
    end = end_of(FAILED, pods, shipped=False)
    assert end is not None
    assert (end.lost, end.exit_code) == (lost, code)


def test_a_failed_init_container_fails_the_trial_and_is_named() -> None:
    failed = {"exitCode": 3, "reason": "Error", "message": "no\nsuch data"}
    found = pod_sight(
        {
            "metadata": {"name": "a", "uid": "1"},
            "status": {
                "phase": "Failed",
                "initContainerStatuses": [
                    {"name": "ready", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "fetch", "state": {"terminated": failed}},
                ],
                "containerStatuses": [{"name": "main", "state": {"waiting": {}}}],
            },
        },
        "u.0.1",
        "main",
        {},
    )
    assert found.unready == "init container fetch failed: Error, exit code 3: no such data"
    assert not is_inconclusive(FAILED, [found])
    end = end_of(FAILED, [found], shipped=True)
    assert end is not None
    assert (end.lost, end.exit_code, end.verdict) == (False, None, RunVerdict.FAILED)
    assert end.message == found.unready
    # Of one that was taken meanwhile it is the infrastructure's.
    lost = end_of(FAILED, [replace(found, taken="Evicted")], shipped=True)
    assert lost is not None
    assert lost.lost


def wrapped(code: int, **said: Any) -> PodSight:
    """As the wrapper's termination message tells it."""
    return replace(pod("a", code, 10.0), message=Termination(exit=code, **said))


@pytest.mark.parametrize("code", [EXIT_REFUSED, EXIT_UNANSWERED])
def test_a_wrapper_that_did_not_run_the_command_loses_the_attempt(code: int) -> None:
    refused = end_of(FAILED, [wrapped(code, ran=False, error="the reason")], shipped=True)
    assert refused is not None
    assert refused.lost
    assert refused.message.startswith("pod a ") and refused.message.endswith(": the reason")
    silent = end_of(FAILED, [pod("a", code, 10.0)], shipped=True)
    assert silent is not None
    assert silent.lost
    # The command's own code, and one of a pod without the wrapper.
    for own in (
        end_of(FAILED, [wrapped(code)], shipped=True),
        end_of(FAILED, [pod("a", code, 10.0)], shipped=False),
    ):
        assert own is not None
        assert (own.lost, own.exit_code) == (False, code)


def test_a_command_that_the_wrapper_stopped_is_no_failure_though_the_launcher_is_late() -> None:
    stopped = wrapped(143, signal=15, stop="EarlyStopped")
    for sight in (FAILED, replace(FAILED, verdict=RunVerdict.SUCCEEDED, reason="Complete")):
        end = end_of(sight, [stopped], shipped=True)
        assert end is not None
        assert (end.lost, end.exit_code, end.stop_reason) == (False, 143, "EarlyStopped")
        assert end.verdict is None
    taken = end_of(FAILED, [replace(stopped, taken="Evicted")], shipped=True)
    assert taken is not None
    assert taken.lost
    # Words of the gateway's are no reason of ours.
    other = end_of(FAILED, [wrapped(143, signal=15, stop="not you (409)")], shipped=True)
    assert other is not None
    assert (other.stop_reason, other.signal) == ("", 15)


NOW = 100.25 + CLUSTER_STOP_DEADLINE_S
RUNS = ObjectSight(run="u.0.1", is_job=True)
STUCK = PodSight(run="u.0.1", name="a", deleted=True, gone_by=100.0)
LIVES = PodSight(run="u.0.1", name="b")


@pytest.mark.parametrize(
    ("pods", "lost"),
    [
        ([STUCK], True),
        ([STUCK, replace(LIVES, primary=False)], True),
        ([STUCK, pod("b", 0, 99.0)], True),
        ([STUCK, pod("b", 143, 99.0, deleted=True)], True),
        # Its controller may be about to make another one behind it, or has made it.
        ([STUCK, pod("b", 0, 101.0)], False),
        ([STUCK, LIVES], False),
        ([replace(STUCK, gone_by=100.5)], False),
        ([replace(STUCK, over=True)], False),
        ([replace(STUCK, primary=False), LIVES], False),
        ([replace(STUCK, primary=False)], False),
        ([], False),
    ],
)
def test_a_run_is_lost_when_what_is_left_of_it_should_long_be_gone(
    pods: list[PodSight], lost: bool
) -> None:
    end = cut_off(RUNS, pods, NOW)
    assert (end is not None and end.lost) == lost


def test_one_that_failed_before_its_others_were_cut_off_has_failed() -> None:
    end = cut_off(RUNS, [STUCK, pod("b", 3, 99.0)], NOW)
    assert end is not None
    assert (end.lost, end.exit_code) == (False, 3)


@pytest.mark.parametrize(
    "sight", [replace(RUNS, stop="EarlyStopped"), replace(RUNS, verdict=RunVerdict.FAILED)]
)
def test_an_object_that_is_stopped_or_has_ended_is_not_cut_off(sight: ObjectSight) -> None:
    assert cut_off(sight, [STUCK], NOW) is None
