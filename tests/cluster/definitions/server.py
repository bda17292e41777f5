"""Kubernetes' own server of custom resources, with an etcd of its own, as `make definitions-server`
builds it: what an API server really says to our definitions and their objects. It knows no
namespaces, no Jobs and no pods, and everybody may do everything."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from trialbus.local.servers.ports import free_ports
from trialbus.testkit.waits import until_sync

BUILT = Path(__file__).parents[3] / "build" / "definitions"
SERVER, ETCD = BUILT / "definitions-server", BUILT / "etcd"
MISSING = "needs Kubernetes' server of custom resources: make definitions-server"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
START_DEADLINE_S = 60.0
# They ask the core API, which is not there.
_WITHOUT = (
    "NamespaceLifecycle",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionWebhook",
    "MutatingAdmissionPolicy",
    "ValidatingAdmissionPolicy",
)


def is_built() -> bool:
    return SERVER.exists() and ETCD.exists()


# As a target among others, of tests that run on several.
WHERE_BUILT = pytest.param("definitions", marks=pytest.mark.skipif(not is_built(), reason=MISSING))


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """url: https, with a certificate that it has made itself."""

    url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=False, timeout=30.0, trust_env=False)


@contextmanager
def running_definitions(folder: Path) -> Iterator[Definitions]:
    """Its data, certificates and logs are in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    client, peer, port = free_ports(3)
    with ExitStack() as stack:
        stack.enter_context(_running(folder / "etcd.log", _etcd(folder, client, peer)))
        stack.enter_context(_running(folder / "server.log", _server(folder, client, port)))
        found = Definitions(url=f"https://127.0.0.1:{port}")
        with found.client() as http:
            until_sync(lambda: _is_ready(http), "the server is ready", within_s=START_DEADLINE_S)
        yield found


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    clients, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        str(ETCD),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # Nothing outlives the test.
        "--unsafe-no-fsync",
    ]


def _server(folder: Path, etcd: int, port: int) -> list[str]:
    core = folder / "core"
    nowhere = {"clusters": [{"name": "core", "cluster": {"server": "http://127.0.0.1:1"}}]}
    context = {"name": "core", "context": {"cluster": "core"}}
    core.write_text(yaml.safe_dump({**nowhere, "contexts": [context], "current-context": "core"}))
    return [
        str(SERVER),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--kubeconfig={core}",
        "--enable-priority-and-fairness=false",
        f"--disable-admission-plugins={','.join(_WITHOUT)}",
    ]


@contextmanager
def _running(log: Path, command: list[str]) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(http: httpx.Client) -> bool:
    try:
        # `/readyz` also waits for the core API.
        return http.get(CRDS).status_code == 200
    except httpx.TransportError:
        return False
