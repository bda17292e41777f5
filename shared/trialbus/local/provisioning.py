"""Makes what services may not make with credentials: the streams, and the durables of them all."""

import asyncio
from collections.abc import Awaitable, Callable

from trialbus.adapters.nats_bus import NatsBus
from trialbus.contracts.nats_identities import PROVISIONER, Identity, Role
from trialbus.kernel.errors import Transient
from trialbus.local.bus_connection import open_bus
from trialbus.runtime.settings import Settings

RETRY_PAUSE_S = 0.2


async def provision(settings: Settings, *, within_s: float) -> None:
    """As the identity of the seed file, or of nobody. Idempotent; what is there is brought up to
    date. Raises Transient when it takes longer, NotPermitted when the identity may not."""
    identity = Identity(name=PROVISIONER, role=Role.PROVISIONER)
    bus = await open_bus(identity, settings, makes=True, wait_s=0)
    failures: list[str] = []
    try:
        making = asyncio.ensure_future(_make(bus, failures))
        denied = asyncio.ensure_future(bus.denied())
        try:
            await asyncio.wait(
                (making, denied), timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
            if denied.done():
                raise denied.result()
            if not making.done():
                raise Transient(f"not within {within_s:g} s, {_why(bus, failures)}")
            making.result()
        finally:
            for task in (making, denied):
                task.cancel()
            await asyncio.gather(making, denied, return_exceptions=True)
    finally:
        await bus.close()


def _why(bus: NatsBus, failures: list[str]) -> str:
    if not bus.connected:
        return f"no connection: {bus.last_error}"
    return failures[-1] if failures else "JetStream is slow"


async def _make(bus: NatsBus, failures: list[str]) -> None:
    await _patiently(bus.provision, failures)
    await _patiently(bus.provision_queues, failures)


async def _patiently(action: Callable[[], Awaitable[None]], failures: list[str]) -> None:
    """JetStream of a cluster has no leader for a moment; a server may be starting. failures: gets
    the last one."""
    while True:
        try:
            await action()
        except Transient as error:
            failures[:] = [str(error)]
            await asyncio.sleep(RETRY_PAUSE_S)
        else:
            return
