"""`--observe` of `trialbus up` and `trialbus run`: Prometheus beside the stack where it is
installed, a clear word where it is not; and promtool reads experiments from the gateway as from a
Prometheus."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from trialbus.local.servers.ports import free_ports
from trialbus.local.servers.prometheus import TARGETS, PrometheusSpec, write_targets
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.run_probes import is_alive
from trialbus.testkit.waits import until_sync

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

DEADLINE_S = 60.0
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RealStack]:
    stack = RealStack(tmp_path / "one")
    try:
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def unobserved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    """One of a machine that has no Prometheus."""
    folder = tmp_path_factory.mktemp("unobserved")
    stack = RealStack(folder, prometheus_bin=str(folder / "none"))
    try:
        yield stack
    finally:
        stack.down()


def asked(url: str, query: str) -> list[Any]:
    answer = httpx.get(f"{url}/api/v1/query?{urlencode({'query': query})}", timeout=10)
    found: list[Any] = answer.json()["data"]["result"]
    return found


@needs_prometheus
def test_prometheus_watches_every_service_and_lives_and_ends_with_the_stack(
    stack: RealStack,
) -> None:
    done = stack.call("up", "--observe")
    assert done.code == 0, done.err
    status = stack.status
    assert status.prometheus.startswith("http://127.0.0.1:")
    assert status.prometheus in done.out
    assert f"{status.http}/prometheus" in done.out
    assert status.prometheus in stack.call("status").out

    def watched() -> set[str]:
        return {it["metric"]["service"] for it in asked(status.prometheus, "up == 1")}

    services = set(status.services)
    until_sync(lambda: watched() == services, "all services are watched", within_s=DEADLINE_S)
    rules = httpx.get(f"{status.prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    assert rules
    told = json.loads((stack.data / "prometheus" / TARGETS).read_text())
    assert {it["labels"]["service"]: it["targets"] for it in told} == {
        name: [(it.health or "").removeprefix("http://")]
        for name, it in stack.status.services.items()
    }
    # It is kept, at its place.
    pid = status.servers["prometheus"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: is_another(stack, pid), "another one is ready", within_s=DEADLINE_S)
    until_sync(lambda: watched() == services, "all services are watched", within_s=DEADLINE_S)
    pid = stack.status.servers["prometheus"].pid
    assert pid is not None
    assert stack.call("down").code == 0
    assert not is_alive(pid)


@needs_prometheus
def test_a_run_is_observed_to_its_end(stack: RealStack) -> None:
    path = stack.write(experiment_object("seen", ["sh", "-c", "echo loss={x}"], trials=1))
    done = stack.call("run", path, "--observe")
    assert done.code == 0, done.err
    assert "\nprometheus   http://127.0.0.1:" in done.out
    assert "experiments  http://127.0.0.1:" in done.out
    assert (stack.data / "prometheus" / TARGETS).exists()
    assert not stack.processes()
    stack.up()
    refused = stack.call("run", path, "--observe")
    assert refused.code == 1
    assert "it runs already, and is not observed; to observe it:" in refused.err


def is_another(stack: RealStack, pid: int | None) -> bool:
    server = stack.status.servers["prometheus"]
    return server.state == "ready" and server.pid not in (None, pid)


def test_without_prometheus_the_stack_says_so_and_goes_on(unobserved: RealStack) -> None:
    stack = unobserved
    done = stack.call("up", "--observe")
    assert done.code == 0, done.err
    assert "not observed: TRIALBUS_PROMETHEUS_BIN is " in done.out
    assert "apt-get install prometheus" in done.out
    assert f"{stack.status.http}/prometheus" in done.out
    assert stack.status.prometheus == ""
    assert "\nprometheus" not in stack.call("status").out
    answer = httpx.get(f"{stack.status.http}/prometheus/api/v1/status/buildinfo", timeout=10)
    assert answer.json()["status"] == "success"
    # Said again, not refused.
    assert "not observed" in stack.call("up", "--observe").out


@needs_promtool
def test_promtool_reads_an_experiment_from_the_gateway(unobserved: RealStack) -> None:
    stack = unobserved
    stack.up()
    trial = ["sh", "-c", "echo loss=0.5; echo loss={x}"]
    path = stack.write(experiment_object("seen", trial, trials=3, parallel=2))
    began = time.time()
    done = stack.call("run", path)
    assert done.code == 0, done.err
    url = f"{stack.status.http}/prometheus"
    of = f'{{namespace="{NAMESPACE}",experiment="seen"}}'
    assert 'experiment="seen"' in promtool("query", "instant", url, f"experiment_best_value{of}")
    counted = promtool("query", "instant", url, f"experiment_trials{of}")
    assert 'state="Succeeded"} => 3 @' in counted
    span = (f"--start={began:.0f}", f"--end={time.time() + 1:.0f}", "--step=1s")
    curves = promtool("query", "range", *span, url, f"trial_metric{of}")
    assert curves.count('metric="loss"') == 3
    series = promtool("query", "series", f"--match=trial_parameter{of}", url)
    assert series.count('parameter="x"') == 3
    assert promtool("query", "labels", url, "experiment").split() == ["seen"]
    refused = subprocess.run(
        ["promtool", "query", "instant", url, "rate(x[5m])"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "only a selector can be asked here" in refused.stderr


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_targets_are_written_only_when_they_change(tmp_path: Path) -> None:
    write_targets(tmp_path, {"gateway": "http://127.0.0.1:1"})
    first = (tmp_path / TARGETS).stat().st_mtime_ns
    write_targets(tmp_path, {"gateway": "http://127.0.0.1:1"})
    assert (tmp_path / TARGETS).stat().st_mtime_ns == first
    write_targets(tmp_path, {"gateway": "http://127.0.0.1:2"})
    assert json.loads((tmp_path / TARGETS).read_text()) == [
        {
            "targets": ["127.0.0.1:2"],
            # Not the address: another port after a restart is no other instance.
            "labels": {"service": "gateway", "instance": "this-machine"},
        }
    ]


def test_it_takes_the_port_of_its_last_run_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    first = PrometheusSpec(binary=tmp_path / "prometheus", folder=tmp_path)
    first.config_path.write_text(first._config(port))
    again = PrometheusSpec(binary=tmp_path / "prometheus", folder=tmp_path)
    assert next(again._first_ports()) == port
    assert f"127.0.0.1:{port}" in " ".join(first.command())
