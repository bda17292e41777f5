"""What goes on being wrong between a cluster and the store is said once, and its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.cluster.double.faults import Fault
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import define, kept_world

from trialbus.ports.cluster import Conflict
from trialbus.testkit.gateway_world import katib
from trialbus.testkit.waits import until
from trialbus_gateway.app.lasting_troubles import LastingTroubles
from trialbus_gateway.app.resource_cluster import ResourceCluster

Logs = list[Any]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that a trouble is met, said or not."""
    found, meet = list[str](), LastingTroubles.met

    def count(troubles: LastingTroubles, key: object, event: str, **fields: object) -> None:
        found.append(event)
        meet(troubles, key, event, **fields)

    monkeypatch.setattr(LastingTroubles, "met", count)
    return found


def events(logs: Logs, level: str) -> list[str]:
    return [it["event"] for it in logs if it["log_level"] == level]


async def test_missing_definitions_are_said_once_and_when_they_have_come(
    tmp_path: Path, double: Double, logs: Logs, met: list[str]
) -> None:
    async with kept_world(tmp_path, double, defined=False) as kept:
        await kept.world.apply()
        await kept.start()
        await until(lambda: met.count("custom resources broke off") >= 5, "it tries again")
        [said] = [it for it in logs if it["event"] == "custom resources broke off"]
        assert "knows no Experiment of kubeflow.org/v1beta1" in said["error"]
        define(double)
        await until(lambda: kept.last() == "Created", "it is shown", within_s=20)
        [over] = [it for it in logs if it["event"] == "trouble is over"]
        assert over["trouble"] == "custom resources broke off"


async def test_an_object_that_is_refused_again_and_again_is_said_once(
    tmp_path: Path, double: Double, logs: Logs, met: list[str]
) -> None:
    async with kept_world(tmp_path, double) as kept:
        await kept.start()
        fault = Fault(kind="status", code=403, verb="create", resource="experiments", times=3)
        double.faults.add(fault)
        await kept.world.apply()
        await until(lambda: kept.last() == "Created", "it is shown")
        await until(lambda: "trouble is over" in events(logs, "info"), "its end is said")
        assert met.count("objects wait") == fault.struck == 3
        assert events(logs, "warning").count("objects wait") == 1


async def test_looks_that_never_come_to_rest_are_said(
    tmp_path: Path, double: Double, logs: Logs, met: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show, conflicts = ResourceCluster.show, [True]

    async def in_between(cluster: ResourceCluster, *args: Any) -> None:
        if conflicts:
            raise Conflict("somebody writes it all the time")
        await show(cluster, *args)

    monkeypatch.setattr(ResourceCluster, "show", in_between)
    async with kept_world(tmp_path, double) as kept:
        await kept.start()
        double.create(katib())
        await until(lambda: len(met) >= 5, "many looks")
        [said] = [it for it in logs if it["event"] == "objects do not come to rest"]
        assert (said["experiment"], said["namespace"]) == ("tune", "lab")
        assert said["error"] == "Conflict: somebody writes it all the time"
        conflicts.clear()
        await kept.until_made()
        await until(lambda: "trouble is over" in events(logs, "info"), "its end is said")
