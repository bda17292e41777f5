"""The life of a Job as its observer sees it: pods, counts, conditions, and how they end."""

from typing import Any

import pytest
from tests.cluster.contract.targets import HOLD, Target, container, job, name, pod
from tests.cluster.contract.watching import watching

JOBS = "batch/v1"
Object = dict[str, Any]


def start(target: Target, body: Object) -> str:
    """The path of a new job."""
    target.make(target.path("jobs", group=JOBS), body)
    return target.path("jobs", body["metadata"]["name"], group=JOBS)


def ended(pod_: Object, container_: str = "main") -> Object:
    told = next(c for c in pod_["status"]["containerStatuses"] if c["name"] == container_)
    over: Object = told["state"]["terminated"]
    return over


def test_a_job_that_ends_well_is_complete(target: Target) -> None:
    path = start(target, job(wanted := name("good"), "echo done"))
    complete = target.until_condition(path, "Complete")
    status = target.get(path)["status"]
    assert complete["reason"] == "CompletionsReached"
    assert status["succeeded"] == 1
    assert status.get("active", 0) == 0
    assert status["startTime"] <= status["completionTime"]
    kinds = {condition["type"] for condition in status["conditions"]}
    assert {"SuccessCriteriaMet", "Complete"} <= kinds
    found = target.pod_of(wanted)
    assert found["status"]["phase"] == "Succeeded"
    assert (ended(found)["exitCode"], ended(found)["reason"]) == (0, "Completed")


def test_pods_carry_the_labels_and_the_owner_of_their_job(target: Target) -> None:
    path = start(target, job(wanted := name("labels"), "true"))
    made = target.get(path)
    uid = made["metadata"]["uid"]
    meta = target.pod_of(wanted)["metadata"]
    for label, value in (("job-name", wanted), ("controller-uid", uid)):
        assert meta["labels"][label] == value
        assert meta["labels"][f"batch.kubernetes.io/{label}"] == value
    assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    owner = meta["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", wanted, uid)
    assert owner["controller"] is True
    assert meta["name"].startswith(f"{wanted}-")


def test_a_job_whose_pod_fails_is_failed(target: Target) -> None:
    script = "echo words > /dev/termination-log; exit 3"
    path = start(target, job(wanted := name("bad"), script))
    failed = target.until_condition(path, "Failed")
    status = target.get(path)["status"]
    assert failed["reason"] == "BackoffLimitExceeded"
    assert status["failed"] == 1
    kinds = {condition["type"] for condition in status["conditions"]}
    assert {"FailureTarget", "Failed"} <= kinds
    found = target.pod_of(wanted)
    assert found["status"]["phase"] == "Failed"
    assert ended(found)["exitCode"] == 3
    assert ended(found)["reason"] == "Error"
    assert ended(found)["message"].strip() == "words"


def test_a_watch_sees_the_phases_of_a_pod_in_order(target: Target) -> None:
    path, wanted = target.path("pods"), name("phases")
    version = target.get(path)["metadata"]["resourceVersion"]
    query = {"fieldSelector": f"metadata.name={wanted}", "resourceVersion": version}
    with watching(target, path, **query) as watched:
        target.make(path, pod(wanted, f"sleep {target.linger_s}"))
        target.until_phase(wanted, "Succeeded")
        target.until(lambda: _phases(watched.events)[-1:] == ["Succeeded"], "its last phase")
    assert _phases(watched.events) == ["Pending", "Running", "Succeeded"]


def _phases(events: list[Object]) -> list[str]:
    seen: list[str] = []
    for event in events:
        phase = event["object"].get("status", {}).get("phase")
        if phase and seen[-1:] != [phase]:
            seen.append(phase)
    return seen


def test_a_rule_on_an_exit_code_fails_the_job_at_once(target: Target) -> None:
    codes = {"containerName": "main", "operator": "In", "values": [42]}
    policy = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    body = job(name("rule"), "exit 42", podFailurePolicy=policy, podReplacementPolicy="Failed")
    body["spec"]["backoffLimit"] = 5
    path = start(target, body)
    failed = target.until_condition(path, "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert "failed with exit code 42 matching FailJob rule at index 0" in failed["message"]
    assert target.get(path)["status"]["failed"] == 1


def test_a_disrupted_pod_fails_a_job_that_wants_it_so(target: Target) -> None:
    policy = {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    body = job(
        wanted := name("drained"),
        "sleep 60",
        podFailurePolicy=policy,
        podReplacementPolicy="Failed",
    )
    body["spec"]["backoffLimit"] = 5
    path = start(target, body)
    found = target.pod_of(wanted)["metadata"]["name"]
    target.until_phase(found, "Running")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": found, "namespace": target.namespace},
    }
    target.make(target.path("pods", found, "eviction"), eviction)
    failed = target.until_condition(path, "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert "DisruptionTarget" in failed["message"]


def test_a_deadline_ends_a_job(target: Target) -> None:
    path = start(target, job(wanted := name("late"), "sleep 60", activeDeadlineSeconds=1))
    failed = target.until_condition(path, "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    target.until(lambda: not target.pods_of(wanted), "its pod is taken away")


def test_a_failed_pod_is_replaced_within_the_limit(target: Target) -> None:
    body = job(wanted := name("again"), "exit 1")
    body["spec"]["backoffLimit"] = 1
    path = start(target, body)
    failed = target.until_condition(path, "Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert target.get(path)["status"]["failed"] == 2
    assert len(target.pods_of(wanted)) == 2


def test_a_suspended_job_has_no_pod_until_it_is_resumed(target: Target) -> None:
    path = start(target, job(wanted := name("suspended"), "true", suspend=True))
    assert target.until_condition(path, "Suspended")["reason"] == "JobSuspended"
    assert target.pods_of(wanted) == []
    assert "startTime" not in target.get(path)["status"]
    target.patch(path, {"spec": {"suspend": False}})
    target.until_condition(path, "Complete")
    conditions = {c["type"]: c for c in target.get(path)["status"]["conditions"]}
    assert conditions["Suspended"]["status"] == "False"
    assert conditions["Suspended"]["reason"] == "JobResumed"


def test_suspending_takes_the_pods_of_a_running_job(target: Target) -> None:
    path = start(target, job(wanted := name("paused"), "sleep 60"))
    target.until_phase(target.pod_of(wanted)["metadata"]["name"], "Running")
    target.patch(path, {"spec": {"suspend": True}})
    target.until(lambda: not target.pods_of(wanted), "its pod is gone")
    status = target.get(path)["status"]
    assert (status.get("active", 0), status.get("failed", 0)) == (0, 0)
    # What suspending took counts as no failure: the job goes on when it is resumed.
    target.patch(path, {"spec": {"suspend": False}})
    target.until_phase(target.pod_of(wanted)["metadata"]["name"], "Running")
    target.delete(path, {"propagationPolicy": "Background"})


def test_a_finished_job_goes_after_its_time(target: Target) -> None:
    path = start(target, job(wanted := name("ttl"), "true", ttlSecondsAfterFinished=1))
    target.expect_gone(path)
    target.until(lambda: not target.pods_of(wanted), "its pod is gone too")


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_the_pods_of_a_deleted_job_go_with_it(target: Target, policy: str) -> None:
    path = start(target, job(wanted := name("gone"), "sleep 60"))
    target.until_phase(target.pod_of(wanted)["metadata"]["name"], "Running")
    target.delete(path, {"propagationPolicy": policy})
    target.expect_gone(path)
    target.until(lambda: not target.pods_of(wanted), "its pod is gone")


def test_a_deleted_job_leaves_its_pods_when_it_is_told_to(target: Target) -> None:
    path = start(target, job(wanted := name("orphan"), "sleep 60"))
    found = target.pod_of(wanted)["metadata"]["name"]
    target.until_phase(found, "Running")
    target.delete(path, {"propagationPolicy": "Orphan"})
    target.expect_gone(path)
    target.until(lambda: "ownerReferences" not in target.pods_of(wanted)[0]["metadata"], "orphan")
    assert "deletionTimestamp" not in target.get(target.path("pods", found))["metadata"]
    target.delete(target.path("pods", found), {"gracePeriodSeconds": 0})


def test_a_deleted_pod_of_a_job_is_a_failure(target: Target) -> None:
    path = start(target, job(wanted := name("killed"), "sleep 60", podReplacementPolicy="Failed"))
    found = target.pod_of(wanted)["metadata"]["name"]
    target.until_phase(found, "Running")
    target.delete(target.path("pods", found))
    failed = target.until_condition(path, "Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert target.get(path)["status"]["failed"] == 1


def test_init_containers_run_before_and_share_volumes(target: Target) -> None:
    mount = {"volumeMounts": [{"name": "box", "mountPath": "/box"}]}
    more = {
        "volumes": [{"name": "box", "emptyDir": {}}],
        "initContainers": [container("first", "echo from-init > /box/word", **mount)],
    }
    body = pod(wanted := name("init"), "cat /box/word > /dev/termination-log", **more)
    body["spec"]["containers"][0] |= mount
    target.make(target.path("pods"), body)
    found = target.until_phase(wanted, "Succeeded", "Failed")
    assert ended(found)["message"].strip() == "from-init"
    first = found["status"]["initContainerStatuses"][0]
    assert first["state"]["terminated"]["exitCode"] == 0


def test_a_failed_init_container_fails_the_pod(target: Target) -> None:
    more = {"initContainers": [container("first", "exit 4")]}
    target.make(target.path("pods"), pod(wanted := name("init"), "true", **more))
    found = target.until_phase(wanted, "Failed")
    first = found["status"]["initContainerStatuses"][0]
    assert first["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in found["status"]["containerStatuses"][0]["state"]


def test_a_sidecar_ends_with_the_pod(target: Target) -> None:
    beside = container("beside", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    more = {"initContainers": [{**beside, "restartPolicy": "Always"}]}
    target.make(target.path("pods"), pod(wanted := name("sidecar"), "true", **more))
    found = target.until_phase(wanted, "Succeeded", "Failed")
    assert found["status"]["phase"] == "Succeeded"


def test_a_container_knows_its_pod(target: Target) -> None:
    env = [
        {"name": "UID_HERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "TWICE", "value": "$(UID_HERE)-$(UID_HERE)"},
    ]
    body = pod(wanted := name("downward"), "echo $TWICE > /dev/termination-log")
    body["spec"]["containers"][0]["env"] = env
    uid = target.make(target.path("pods"), body)["metadata"]["uid"]
    found = target.until_phase(wanted, "Succeeded", "Failed")
    assert ended(found)["message"].strip() == f"{uid}-{uid}"


def test_a_pod_that_fits_nowhere_says_so(target: Target) -> None:
    more = {"nodeSelector": {"trialbus.io/none": "such"}}
    target.make(target.path("pods"), pod(wanted := name("nowhere"), "true", **more))
    path = target.path("pods", wanted)

    def scheduled() -> Object:
        told = target.get(path)["status"].get("conditions") or ()
        return next((c for c in told if c["type"] == "PodScheduled"), {})

    target.until(lambda: scheduled().get("status") == "False", "it is not scheduled")
    assert scheduled()["reason"] == "Unschedulable"
    assert "0/" in scheduled()["message"]
    target.delete(path)


def test_an_image_that_is_nowhere_is_a_reason_to_wait(target: Target) -> None:
    body = pod(wanted := name("image"), "true")
    body["spec"]["containers"][0]["image"] = "registry.invalid/none:1"
    target.make(target.path("pods"), body)
    reasons = set()

    def pulling() -> bool:
        for told in target.get(target.path("pods", wanted))["status"].get("containerStatuses", ()):
            reasons.add((told["state"].get("waiting") or {}).get("reason"))
        return bool(reasons & {"ErrImagePull", "ImagePullBackOff"})

    target.until(pulling, "the image is missed")
    target.delete(target.path("pods", wanted), {"gracePeriodSeconds": 0})
    target.expect_gone(target.path("pods", wanted))


def test_termination_is_a_signal_and_then_a_kill(target: Target) -> None:
    trap = "trap 'echo asked > /dev/termination-log; exit 9' TERM"
    script = f"{trap}; echo ready; while :; do sleep 0.1; done"
    body = pod(wanted := name("term"), script, terminationGracePeriodSeconds=10)
    body["metadata"]["finalizers"] = [HOLD]
    target.make(target.path("pods"), body)
    log, path = target.path("pods", wanted, "log"), target.path("pods", wanted)
    target.until(lambda: target.http.get(log).content == b"ready\n", "it waits for a signal")
    target.delete(path)
    found = target.until_phase(wanted, "Failed")
    assert ended(found)["exitCode"] == 9
    assert ended(found)["message"].strip() == "asked"
    target.patch(path, {"metadata": {"finalizers": None}})
    target.expect_gone(path)
