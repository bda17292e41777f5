"""An API server over TLS: checked by the authority that we were given, told who we are by it."""

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from tests.cluster.cluster_clients import CONFIG_MAPS, cluster_settings, opened

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.kernel.errors import Transient
from trialbus.testkit.certificates import Authority


async def empty_list(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})


@asynccontextmanager
async def serving(folder: Path, *, asks_for_certificate: bool = False) -> AsyncIterator[str]:
    """The address of a server with the certificate `server.pem` of that folder."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    runner = web.ServerRunner(web.Server(empty_list), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    authority = Authority(folder)
    authority.issue("server")
    authority.issue("client")
    return authority


async def test_only_a_server_of_the_given_authority_is_believed(
    tmp_path: Path, authority: Authority
) -> None:
    account, stranger = tmp_path / "account", tmp_path / "stranger"
    stranger.mkdir()
    Authority(stranger)
    account.mkdir()
    (account / "token").write_text("t")
    async with serving(authority.folder) as address:
        settings = cluster_settings(kubernetes_api=address, kubernetes_credentials_dir=str(account))
        for pem, good in ((authority.folder / "ca.pem", True), (stranger / "ca.pem", False)):
            (account / "ca.crt").write_bytes(pem.read_bytes())
            api = await open_cluster(settings)
            if good:
                assert (await api.list(CONFIG_MAPS, None)).resource_version == "1"
            else:
                with pytest.raises(Transient, match=r"(?i)certificate"):
                    await api.list(CONFIG_MAPS, None)
            await api.close()


async def test_the_certificates_of_a_kubeconfig_are_used(
    tmp_path: Path, authority: Authority
) -> None:
    user = {
        "client-certificate-data": encoded(authority.folder / "client.pem"),
        "client-key-data": encoded(authority.folder / "client-key.pem"),
    }
    async with serving(authority.folder, asks_for_certificate=True) as address:
        config = kubeconfig(address, encoded(authority.folder / "ca.pem"))
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump({**config, "users": [{"name": "u", "user": user}]}))
        async with opened(path) as api:
            assert (await api.list(CONFIG_MAPS, None)).items == ()
        path.write_text(yaml.safe_dump({**config, "users": [{"name": "u", "user": {}}]}))
        async with opened(path) as api:
            with pytest.raises(Transient):
                await api.list(CONFIG_MAPS, None)


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def kubeconfig(address: str, authority: str) -> dict[str, Any]:
    cluster = {"server": address, "certificate-authority-data": authority}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
