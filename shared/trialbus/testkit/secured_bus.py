"""A nats-server with identities, and one more that may do everything and hears everything."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
import nkeys  # type: ignore[import-untyped]
from nats.aio.client import Client
from nats.aio.msg import Msg

from trialbus.contracts.nats_identities import Identity, inbox_prefix
from trialbus.local import nats_accounts
from trialbus.local.servers import NatsServerSpec, ServerProcess, find_nats_server, require
from trialbus.runtime.settings import Settings

SENTINEL = "sentinel"
DEADLINE_S = 20.0


@dataclass(kw_only=True)
class SecuredBus:
    """folder: of the identities. heard: what has come to the server and was not yet asked for."""

    folder: Path
    spec: NatsServerSpec
    server: ServerProcess
    admin: Client
    admin_key: str
    heard: asyncio.Queue[Msg] = field(default_factory=asyncio.Queue)

    def settings(self, name: str, **more: str) -> Settings:
        """Of a service with the key of this identity."""
        seed = str(nats_accounts.seed_path(self.folder, name))
        own = {"nats_url": self.server.url, "nats_seed_file": seed}
        return Settings.model_validate(own | more)

    @asynccontextmanager
    async def identity(self, name: str) -> AsyncIterator[tuple[Client, list[str]]]:
        """A connection of it, and what the server refused to it."""
        refused: list[str] = []

        async def on_error(error: Exception) -> None:
            refused.append(str(error))

        known = {it.identity.name: it.identity for it in nats_accounts.read(self.folder)}
        client = await nats.connect(
            self.server.url,
            nkeys_seed=str(nats_accounts.seed_path(self.folder, name)),
            inbox_prefix=inbox_prefix(known[name]),
            error_cb=on_error,
            allow_reconnect=False,
        )
        try:
            yield client, refused
        finally:
            await client.close()

    async def heard_so_far(self) -> list[Msg]:
        """What has come to the server since the last question."""
        await self.admin.publish(SENTINEL)
        found = []
        async with asyncio.timeout(DEADLINE_S):
            while (message := await self.heard.get()).subject != SENTINEL:
                found.append(message)
        return found

    def change(
        self,
        *,
        wanted: Sequence[Identity] = (),
        rotate: Sequence[str] = (),
        revoke: Sequence[str] = (),
    ) -> None:
        """The identities, and the running server is told."""
        nats_accounts.make(self.folder, wanted=wanted, rotate=rotate, revoke=revoke)
        _add_user(self.folder / nats_accounts.ACCOUNTS, self.admin_key)
        os.kill(self.server.pid, signal.SIGHUP)

    def logged(self) -> str:
        return self.server.log_path.read_text()


async def settled(client: Client) -> None:
    """The server has seen all that was said, and its answers are here. Twice: the library's first
    ping goes ahead of what it still holds back."""
    await client.flush()
    await client.flush()


@asynccontextmanager
async def secured_bus(folder: Path, guests: Sequence[Identity]) -> AsyncIterator[SecuredBus]:
    """Without streams: they are the provisioner's to make."""
    auth = folder / "auth"
    nats_accounts.make(auth, wanted=guests)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    key = nkeys.from_seed(bytearray(seed)).public_key.decode()
    accounts = auth / nats_accounts.ACCOUNTS
    _add_user(accounts, key)
    binary = require(await asyncio.to_thread(find_nats_server))
    spec = NatsServerSpec(binary=binary, folder=folder / "nats", accounts=accounts)
    server = await spec.start()
    try:
        await server.ready()
        admin = await nats.connect(server.url, nkeys_seed_str=seed.decode())
        bus = SecuredBus(folder=auth, spec=spec, server=server, admin=admin, admin_key=key)

        async def on_message(message: Msg) -> None:
            bus.heard.put_nowait(message)

        await admin.subscribe(">", cb=on_message)
        await settled(admin)
        try:
            yield bus
        finally:
            await admin.close()
    finally:
        await server.stop()


def _add_user(accounts: Path, key: str) -> None:
    """One who may do everything."""
    told, _, rest = accounts.read_text().partition("accounts: ")
    found, end = json.JSONDecoder().raw_decode(rest)
    found[nats_accounts.ACCOUNT]["users"].append({"nkey": key})
    accounts.write_text(f"{told}accounts: {json.dumps(found)}{rest[end:]}")
