"""What the charts render works together: servers with keys and passwords, Jobs, services, door."""

import base64
import secrets as random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml
from tests.cluster.double.server import Double
from tests.cluster.installed import SERVICES, Installed, installed

from trialbus.local import nats_accounts
from trialbus.testkit.programs import REPOSITORY, TRIALBUS, program_environ
from trialbus.testkit.waits import until_sync

pytestmark = pytest.mark.servers

DEADLINE_S = 90.0
MANIFESTS = REPOSITORY / "deploy/manifests/namespaced.yaml"


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


@pytest.fixture
def whole(double: Double, token: str, tmp_path: Path) -> Iterator[Installed]:
    """The servers and Jobs of deploy/manifests, with Secrets as deploy/helm/secrets makes them."""
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
    objects = [it for it in yaml.safe_load_all(MANIFESTS.read_text()) if it]
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


def test_an_installation_comes_up_and_lets_in_who_shows_the_token(
    whole: Installed, token: str
) -> None:
    for name in SERVICES:
        whole.start_service(name)
    for name, port in whole.health.items():
        try:
            until_sync(partial(_is_ready, port), "ready", within_s=DEADLINE_S)
        except AssertionError:
            pytest.fail(f"{name} is not ready:\n{whole.log(name)[-3000:]}")
    address = f"http://127.0.0.1:{whole.http}/v1/experiments"
    assert httpx.get(address).status_code == 401
    answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["items"]) == (200, [])
