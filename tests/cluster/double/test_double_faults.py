"""Faults of the double: each does what it says, and what it says about the effect is true."""

import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cluster.double.faults import Fault, Faults, bad_weather
from tests.cluster.double.server import Double, running_double

from trialbus.kernel.limits import CLUSTER_REQUESTS_PER_SECOND
from trialbus.testkit.waits import until_sync

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
Object = dict[str, Any]


@pytest.fixture
def http(double: Double) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=double.url, timeout=10.0, trust_env=False) as client:
        yield client


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}, "data": {"a": "1"}}


def there(double: Double, name: str) -> bool:
    return double.get("ConfigMap", "default", name) is not None


@pytest.mark.parametrize(
    ("moment", "made"), [("before", False), ("after", True)], ids=["before", "after"]
)
def test_an_error_comes_before_or_after_the_effect(
    double: Double, http: httpx.Client, moment: Any, made: bool
) -> None:
    double.faults.add(Fault(kind="status", code=503, moment=moment, verb="create"))
    answer = http.post(CONFIG_MAPS, json=config_map("a"))
    assert answer.status_code == 503
    assert answer.json()["kind"] == "Status"
    assert there(double, "a") is made
    expected = 409 if made else 201
    assert http.post(CONFIG_MAPS, json=config_map("a")).status_code == expected


def test_a_conflict_after_the_effect_is_already_exists(double: Double, http: httpx.Client) -> None:
    double.faults.add(Fault(kind="status", code=409, moment="after", verb="create"))
    answer = http.post(CONFIG_MAPS, json=config_map("a"))
    assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")
    assert there(double, "a")


def test_too_many_requests_say_when_to_come_back(double: Double, http: httpx.Client) -> None:
    double.faults.add(Fault(kind="status", code=429, retry_after_s=7))
    answer = http.get(CONFIG_MAPS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert http.get(CONFIG_MAPS).status_code == 200


@pytest.mark.parametrize(("moment", "made"), [("before", False), ("after", True)])
def test_a_connection_can_break(
    double: Double, http: httpx.Client, moment: Any, made: bool
) -> None:
    double.faults.add(Fault(kind="reset", moment=moment, verb="create"))
    with pytest.raises(httpx.TransportError):
        http.post(CONFIG_MAPS, json=config_map("a"))
    assert there(double, "a") is made


def test_a_connection_can_be_held(double: Double, http: httpx.Client) -> None:
    double.faults.add(Fault(kind="hold", moment="after", verb="create"))
    with pytest.raises(httpx.ReadTimeout):
        http.post(CONFIG_MAPS, json=config_map("a"), timeout=httpx.Timeout(10, read=0.3))
    until_sync(lambda: there(double, "a"), "it is made")


def read(http: httpx.Client, **query: Any) -> list[str]:
    """The types of the events of a watch, until it ends or is silent for two seconds."""
    kinds: list[str] = []
    params = {"watch": "true", "resourceVersion": "0", **query}
    silence = httpx.Timeout(10, read=2)
    try:
        with http.stream("GET", CONFIG_MAPS, params=params, timeout=silence) as answer:
            for line in answer.iter_lines():
                kinds.append(json.loads(line)["type"])
    except httpx.ReadTimeout:
        kinds.append("silence")
    else:
        kinds.append("end")
    return kinds


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(kind="watch-drop", after_events=2), ["ADDED", "ADDED", "end"]),
        (Fault(kind="watch-silent", after_events=1), ["ADDED", "silence"]),
        (Fault(kind="watch-gone", after_events=2), ["ADDED", "ADDED", "ERROR", "end"]),
        (Fault(kind="watch-gone"), ["ERROR", "end"]),
        (Fault(kind="watch-drop"), ["end"]),
    ],
    ids=["dropped", "silent", "gone in the middle", "gone at the start", "dropped at the start"],
)
def test_watches_can_fail(
    double: Double, http: httpx.Client, fault: Fault, expected: list[str]
) -> None:
    for name in ("a", "b", "c"):
        http.post(CONFIG_MAPS, json=config_map(name))
    double.faults.add(fault)
    assert read(http) == expected
    assert read(http) == ["ADDED"] * 4 + ["silence"]


def test_a_list_can_be_stale(double: Double, http: httpx.Client) -> None:
    http.post(CONFIG_MAPS, json=config_map("a"))
    now = http.get(CONFIG_MAPS).json()
    double.faults.add(Fault(kind="stale", events_back=1))
    old = http.get(CONFIG_MAPS).json()
    assert len(old["items"]) == len(now["items"]) - 1
    version = int(old["metadata"]["resourceVersion"])
    assert version < int(now["metadata"]["resourceVersion"])


def test_after_a_compaction_continuations_and_watches_are_gone(
    double: Double, http: httpx.Client
) -> None:
    for name in ("a", "b", "c"):
        http.post(CONFIG_MAPS, json=config_map(name))
    page = http.get(CONFIG_MAPS, params={"limit": 1}).json()
    http.post(CONFIG_MAPS, json=config_map("d"))
    double.compact()
    token = page["metadata"]["continue"]
    answer = http.get(CONFIG_MAPS, params={"limit": 1, "continue": token})
    assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")
    # What the answer offers instead: the rest as it is now.
    offered = answer.json()["metadata"]["continue"]
    rest = http.get(CONFIG_MAPS, params={"continue": offered}).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == [
        "b",
        "c",
        "d",
        "kube-root-ca.crt",
    ]
    assert read(http, resourceVersion=page["metadata"]["resourceVersion"]) == ["ERROR", "end"]


def test_the_same_seed_brings_the_same_weather() -> None:
    def weather(seed: int) -> list[str]:
        faults, calls = Faults(), random.Random(1)
        faults.storm(seed, bad_weather(0.05))
        verbs = calls.choices(("create", "get", "list", "watch", "patch", "delete"), k=300)
        struck = [faults.strikes(verb, "jobs", "") for verb in verbs]
        return [fault.kind if fault else "" for fault in struck]

    assert weather(3) == weather(3)
    assert weather(3) != weather(4)
    assert {"reset", "status", "watch-drop"} <= set(weather(3))


def test_rights_can_be_taken_away(double: Double, http: httpx.Client) -> None:
    double.access.deny("create", "configmaps", "default")
    answer = http.post(CONFIG_MAPS, json=config_map("a"))
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    asked = {"verb": "create", "resource": "configmaps", "namespace": "default"}
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    told = http.post(review, json={"spec": {"resourceAttributes": asked}}).json()
    assert told["status"]["allowed"] is False


def test_a_token_can_be_asked_for(tmp_path: Path) -> None:
    with running_double(tmp_path, token="secret") as double:
        assert httpx.get(f"{double.url}/api", trust_env=False).status_code == 401
        headers = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{double.url}/api", headers=headers, trust_env=False).status_code == 200


def test_requests_and_objects_are_counted(double: Double, http: httpx.Client) -> None:
    for name in ("a", "b"):
        http.post(CONFIG_MAPS, json=config_map(name))
    http.delete(f"{CONFIG_MAPS}/a")
    http.get(f"{CONFIG_MAPS}/a")
    assert double.stats.requests["create", "configmaps"] == 2
    assert double.stats.requests["get", "configmaps"] == 1
    assert double.stats.answers[404] == 1
    # Beside the certificate that each of the two namespaces has.
    assert double.maxima["configmaps"] == 4


def test_it_answers_as_much_as_a_launcher_asks_at_most(double: Double, http: httpx.Client) -> None:
    """In processor time of its own thread: other work of the machine counts little, and the median
    of five rounds less."""
    count, rates = 80, []
    for number in range(5):
        before = double.do(time.thread_time)
        for i in range(count):
            http.post(CONFIG_MAPS, json=config_map(f"c{number}-{i}"))
        rates.append(count / (double.do(time.thread_time) - before))
    assert statistics.median(rates) > CLUSTER_REQUESTS_PER_SECOND
