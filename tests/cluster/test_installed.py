"""What the charts render works together: servers with keys and passwords, Jobs, services, door."""

import base64
import secrets as random
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.charts.policies import pods_are_restricted
from tests.cluster.double.server import Double
from tests.cluster.installed import SERVICES, Installed, installed

from trialbus.local import nats_accounts
from trialbus.testkit.programs import REPOSITORY, TRIALBUS, program_environ
from trialbus.testkit.waits import until_sync

pytestmark = pytest.mark.servers

DEADLINE_S = 60.0
# As few rights as possible, with keys and passwords; and as small as possible, with neither.
INSTALLATIONS = {
    "namespaced": REPOSITORY / "deploy/manifests/namespaced.yaml",
    "laptop-kind": REPOSITORY / "tests/charts/golden/laptop-kind.yaml",
}
EXAMPLE = REPOSITORY / "examples/on-kubernetes.yaml"


@pytest.fixture
def token(tmp_path: Path) -> str:
    """Of the administrator in tokens.yaml."""
    file = tmp_path / "tokens.yaml"
    command = [*TRIALBUS, "auth", "token", "create", "admin", "--role", "admin"]
    done = subprocess.run(
        [*command, "--namespace", "*", "--file", str(file)],
        env=program_environ(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(params=INSTALLATIONS)
def whole(
    request: pytest.FixtureRequest, double: Double, token: str, tmp_path: Path
) -> Iterator[Installed]:
    """Its servers and Jobs, with Secrets as deploy/helm/secrets makes them."""
    auth = tmp_path / "auth"
    nats_accounts.make(auth)
    key = base64.encodebytes(random.token_bytes(48)).decode()
    made = {
        "trialbus-nats": {file.name: file.read_text() for file in auth.iterdir()},
        "trialbus-mongodb": {"password": random.token_urlsafe(24), "keyfile": key},
        "trialbus-access": {
            "tokens.yaml": (tmp_path / "tokens.yaml").read_text(),
            "trial.key": random.token_urlsafe(48),
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trialbus"}}
    assert httpx.post(f"{double.url}/api/v1/namespaces", json=namespace).status_code == 201
    manifests = INSTALLATIONS[request.param]
    objects = [it for it in yaml.safe_load_all(manifests.read_text()) if it]
    # Instead of the account that a pod has.
    more = {"TRIALBUS_KUBECONFIG": str(double.kubeconfig)}
    with installed(objects, made, tmp_path / "pods", **more) as it:
        it.start_servers()
        it.run_jobs()
        yield it


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _wait(whole: Installed, service: str, condition: Callable[[], object]) -> None:
    """Or fail, with the end of the service's log."""
    try:
        until_sync(condition, service, within_s=DEADLINE_S)
    except AssertionError as error:
        pytest.fail(f"{error}\n{whole.log(service)[-3000:]}")


def _jobs(double: Double) -> list[dict[str, Any]]:
    answer = httpx.get(f"{double.url}/apis/batch/v1/namespaces/trialbus/jobs")
    return list(answer.json()["items"])


def test_an_installation_comes_up_and_runs_trials_for_who_shows_the_token(
    double: Double, whole: Installed, token: str
) -> None:
    experiment = yaml.safe_load(EXAMPLE.read_text())
    # So it stays and can be looked at.
    experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["suspend"] = True
    for name in SERVICES:
        whole.start_service(name)
    for name, port in whole.health.items():
        _wait(whole, name, partial(_is_ready, port))
    base = f"http://127.0.0.1:{whole.http}"
    address = f"{base}/apis/kubeflow.org/v1beta1/namespaces/trialbus/experiments"
    assert httpx.get(address).status_code == 401
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get(address).json()["items"] == []
        created = client.post(address, json=experiment)
    assert created.status_code == 201, created.text
    _wait(whole, "trial-launcher", partial(_jobs, double))
    [job, *_] = _jobs(double)
    assert job["metadata"]["labels"]["trialbus.io/instance"] == "trialbus-trialbus"
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert [it["image"] for it in pod["initContainers"]] == ["trialbus/wrapper:0.1.0"]
    environ = {it["name"]: it.get("value", "") for it in pod["containers"][0]["env"]}
    assert environ["TRIALBUS_URL"] == base
    assert list(pods_are_restricted([job])) == []
