"""What pods wrote: whole, its tail, since a moment, of each container, and as it grows."""

import re
import threading
from typing import Any

import httpx
import pytest
from tests.cluster.contract.targets import Object, Target, container, name, pod

from trialbus.testkit.waits import until_sync

_STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) (.*)$")


def text(target: Target, pod_: str, expect: int = 200, /, **params: Any) -> bytes:
    answer = target.http.get(target.path("pods", pod_, "log"), params=params)
    assert answer.status_code == expect, answer.text
    return answer.content


@pytest.fixture(scope="module")
def written(target: Target) -> str:
    """A pod that is over: five lines, two containers."""
    body = pod(wanted := name("log"), "for i in 1 2 3 4 5; do echo line $i; done")
    body["spec"]["containers"].append(container("second", "echo of the second"))
    target.make(target.path("pods"), body)
    target.until_phase(wanted, "Succeeded")
    return wanted


def test_a_log_is_what_the_container_wrote(target: Target, written: str) -> None:
    expected = b"".join(b"line %d\n" % i for i in range(1, 6))
    assert text(target, written, container="main") == expected
    assert text(target, written, container="second") == b"of the second\n"


def test_the_tail_and_a_limit(target: Target, written: str) -> None:
    assert text(target, written, container="main", tailLines=2) == b"line 4\nline 5\n"
    assert text(target, written, container="main", tailLines=0) == b""
    assert text(target, written, container="main", limitBytes=9) == b"line 1\nli"


def test_timestamps_stand_before_each_line(target: Target, written: str) -> None:
    lines = text(target, written, container="main", timestamps="true").splitlines()
    assert len(lines) == 5
    for i, line in enumerate(lines, start=1):
        found = _STAMP.match(line)
        assert found is not None
        assert found[2] == b"line %d" % i


def test_since_a_moment_to_come_there_is_nothing(target: Target, written: str) -> None:
    query = {"container": "main", "sinceTime": "2999-01-01T00:00:00Z"}
    assert text(target, written, **query) == b""
    query["sinceTime"] = "2001-01-01T00:00:00Z"
    assert len(text(target, written, **query).splitlines()) == 5


def test_since_a_moment_the_lines_after_it(target: Target) -> None:
    script = "echo early; sleep 2.5; echo late"
    target.make(target.path("pods"), pod(wanted := name("since"), script))
    target.until_phase(wanted, "Succeeded")
    lines = text(target, wanted, timestamps="true").splitlines()
    stamp = _STAMP.match(lines[1])
    assert stamp is not None
    moment = (stamp[0][:19] + stamp[1]).decode()
    assert text(target, wanted, sinceTime=moment) == b"late\n"


def test_a_container_must_be_named_where_there_are_two(target: Target, written: str) -> None:
    assert b"a container name must be specified" in text(target, written, 400)
    assert b"container none is not valid" in text(target, written, 400, container="none")


def test_no_log_of_what_is_not_there_or_has_no_node(target: Target) -> None:
    text(target, "none-such", 404)
    more = {"nodeSelector": {"trialbus.io/none": "such"}}
    target.make(target.path("pods"), pod(wanted := name("waits"), "true", **more))
    assert text(target, wanted, 204) == b""
    assert b"container none is not valid" in text(target, wanted, 400, container="none")
    target.delete(target.path("pods", wanted), {"gracePeriodSeconds": 0})


def test_a_log_can_be_followed_to_its_end(target: Target) -> None:
    pause_s = 2.0 + target.linger_s
    script = f"echo one; sleep {pause_s}; echo two; sleep {pause_s}; echo three"
    target.make(target.path("pods"), pod(wanted := name("follow"), script))
    target.until_phase(wanted, "Running")
    place, got, over = target.path("pods", wanted, "log"), bytearray(), threading.Event()

    def read() -> None:
        with target.http.stream("GET", place, params={"follow": "true"}, timeout=60.0) as answer:
            for chunk in answer.iter_bytes():
                got.extend(chunk)
        over.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    until_sync(lambda: b"one" in got, "the first line", within_s=target.deadline_s)
    assert b"three" not in got
    until_sync(over.is_set, "the log ends with its container", within_s=target.deadline_s)
    reader.join()
    assert bytes(got) == b"one\ntwo\nthree\n"


def test_the_log_of_the_start_before_is_kept(target: Target) -> None:
    script = "if [ -e /box/seen ]; then echo second; sleep 60; else touch /box/seen; echo first; fi"
    mount = [{"name": "box", "mountPath": "/box"}]
    body = pod(wanted := name("previous"), f"{script}; exit 1", restartPolicy="OnFailure")
    body["spec"]["volumes"] = [{"name": "box", "emptyDir": {}}]
    body["spec"]["containers"][0]["volumeMounts"] = mount
    target.make(target.path("pods"), body)
    target.until(lambda: _log_or_nothing(target, wanted) == b"second\n", "the second start")
    assert text(target, wanted, previous="true") == b"first\n"
    # The kubelet tells the server somewhat later.
    target.until(lambda: _container(target, wanted)["restartCount"], "the restart is counted")
    status = _container(target, wanted)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    target.delete(target.path("pods", wanted), {"gracePeriodSeconds": 0})


def _container(target: Target, pod_: str) -> Object:
    found: Object = target.get(target.path("pods", pod_))["status"]["containerStatuses"][0]
    return found


def _log_or_nothing(target: Target, pod_: str) -> bytes:
    answer: httpx.Response = target.http.get(target.path("pods", pod_, "log"))
    return answer.content if answer.status_code == 200 else b""


def test_no_previous_log_of_a_first_start(target: Target, written: str) -> None:
    answer = text(target, written, 400, container="main", previous="true")
    assert b"previous terminated container" in answer
