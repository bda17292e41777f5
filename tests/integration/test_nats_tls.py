"""nats-server over TLS that asks clients for certificates, and a folder that is secured later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trialbus.kernel.errors import Transient
from trialbus.local import nats_accounts
from trialbus.local.bus_guard import BusGuard
from trialbus.local.provisioning import provision
from trialbus.local.servers import NatsServerSpec, ServerProcess, find_nats_server, require
from trialbus.runtime.settings import Settings
from trialbus.testkit.certificates import Authority

pytestmark = pytest.mark.servers


class TlsSpec(NatsServerSpec):
    """With the lines that `nats-server.conf` has for TLS; certificates beside the accounts."""

    def _config(self, port: int) -> str:
        files = {"cert_file": "server.pem", "key_file": "server-key.pem", "ca_file": "ca.pem"}
        folder = self.folder.parent / "auth"
        lines = [f'{name}: "{folder / file}"' for name, file in files.items()]
        return super()._config(port) + "\n".join(["tls {", *lines, "verify: true", "}"]) + "\n"


@asynccontextmanager
async def running(spec: NatsServerSpec) -> AsyncIterator[ServerProcess]:
    server = await spec.start()
    try:
        await server.ready()
        yield server
    finally:
        await server.stop()


async def test_services_come_in_with_their_certificate_and_not_without(tmp_path: Path) -> None:
    folder = tmp_path / "auth"
    nats_accounts.make(folder)
    authority = Authority(folder)
    authority.issue("server")
    authority.issue("client")
    spec = TlsSpec(
        binary=require(find_nats_server()),
        folder=tmp_path / "nats",
        accounts=folder / nats_accounts.ACCOUNTS,
    )
    async with running(spec) as server:
        own = {
            "nats_url": server.url,
            "nats_seed_file": str(folder / "provisioner.seed"),
            "nats_tls_ca": str(folder / "ca.pem"),
        }
        with pytest.raises(Transient, match="no connection"):
            await provision(Settings.model_validate(own), within_s=1)
        pair = {"nats_tls_cert": "client.pem", "nats_tls_key": "client-key.pem"}
        own |= {name: str(folder / file) for name, file in pair.items()}
        await provision(Settings.model_validate(own), within_s=20)
        # One that another authority has made.
        Authority(folder).issue("client")
        with pytest.raises(Transient, match=r"no connection: .*certificate"):
            await provision(Settings.model_validate(own), within_s=1)


async def test_a_folder_whose_server_ran_without_keys_can_be_secured(tmp_path: Path) -> None:
    """A server is never healthy over streams of an account that it does not know."""
    binary = require(find_nats_server())
    async with running(NatsServerSpec(binary=binary, folder=tmp_path / "nats")) as server:
        await provision(Settings.model_validate({"nats_url": server.url}), within_s=20)
    guard = BusGuard.of(tmp_path, secure=True)
    assert guard is not None
    spec = NatsServerSpec(binary=binary, folder=tmp_path / "nats", accounts=guard.make())
    async with running(spec) as server:
        await guard.provision(server.url)
        assert server.poll() is None
