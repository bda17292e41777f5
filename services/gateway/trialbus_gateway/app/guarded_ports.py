"""The gateway's ports behind the guard: made once, where the gateway is put together."""

from dataclasses import replace

from trialbus.runtime.parts import Parts
from trialbus_gateway.app.guarded_bus import GuardedBus
from trialbus_gateway.app.guarded_store import GuardedStore


def guarded(parts: Parts) -> Parts:
    return replace(parts, bus=GuardedBus(parts.bus), store=GuardedStore(parts.store))
