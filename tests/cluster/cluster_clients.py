"""The adapter of ClusterApi as tests open it: on the double, or on a server that a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.adapters.kubernetes_api.pace import LoopClock
from trialbus.ports.cluster import ClusterApi, Object, Resource
from trialbus.runtime.settings import Settings

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HastyClock(LoopClock):
    """Waits are written down instead of waited, seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        await asyncio.sleep(0)


def cluster_settings(**more: Any) -> Settings:
    return Settings(**more)


@asynccontextmanager
async def opened(kubeconfig: Path, **options: Any) -> AsyncIterator[ClusterApi]:
    """options: of open_cluster. Without the limit of requests a second."""
    settings = cluster_settings(kubeconfig=str(kubeconfig))
    api = await open_cluster(settings, **{"requests_per_second": 1e6, **options})
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def scripted(folder: Path, handler: Handler, **options: Any) -> AsyncIterator[ClusterApi]:
    """For answers that no healthy server gives. folder: gets the credentials, token `one`."""
    server = web.Server(handler, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    (folder / "token").write_text("one")
    settings = cluster_settings(
        kubernetes_api=f"http://{host}:{port}", kubernetes_credentials_dir=str(folder)
    )
    api = await open_cluster(settings, **{"requests_per_second": 1e6, **options})
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


NAMESPACE = "default"
CONFIG_MAPS = Resource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True
)
PODS = Resource(group="", version="v1", kind="Pod", plural="pods", namespaced=True)


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, *command: str) -> Object:
    container = {"name": "main", "image": "python", "command": command or ["true"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def without_furniture(double: Double) -> Double:
    """Less the ConfigMap that each namespace has from its beginning: tests count them."""
    for namespace in (NAMESPACE, "kube-system"):
        double.delete("configmaps", namespace, "kube-root-ca.crt")
    return double


async def make(api: ClusterApi, name: str, **data: str) -> Object:
    """A ConfigMap in the default namespace."""
    return await api.create(CONFIG_MAPS, NAMESPACE, config_map(name, **data))
