"""Whose fault the end of an object with several pods was: the user's, or the cluster's."""

from dataclasses import replace

import pytest

from trialbus.kernel.run import RunVerdict
from trialbus_trial_launcher.app.cluster.object_ends import ObjectSight, end_of, is_inconclusive
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
