"""The Bus port over NATS with JetStream. See docs/decisions/0003-jetstream.md."""

from trialbus.adapters.nats_bus.bus import NatsBus
from trialbus.adapters.nats_bus.connection import ConnectionOptions

__all__ = ["ConnectionOptions", "NatsBus"]
