"""The connection of one identity to the bus, as the settings say."""

import ssl

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.adapters.nats_bus.bus import CONNECT_WAIT_S
from trialbus.contracts.nats_identities import Identity, inbox_prefix, reply_patterns
from trialbus.runtime.settings import Settings


async def open_bus(
    identity: Identity,
    settings: Settings,
    *,
    makes: bool = False,
    wait_s: float = CONNECT_WAIT_S,
) -> NatsBus:
    """See `NatsBus.open`. Without credentials it makes the streams that it misses; with them only
    who `makes` them does. Raises OSError for certificates that cannot be read."""
    secured = bool(settings.nats_seed_file)
    options = ConnectionOptions(
        servers=[settings.nats_url],
        name=f"trialbus-{identity.name.replace('_', '-')}",
        inbox_prefix=inbox_prefix(identity),
        seed_file=settings.nats_seed_file or None,
        answers_to=reply_patterns(identity.name) if secured else None,
        tls=_tls(settings),
    )
    return await NatsBus.open(
        options,
        wait_s=wait_s,
        replicas=settings.nats_replicas,
        event_stream_bytes=settings.nats_event_bytes,
        provisions=makes or not secured,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.nats_tls_ca and not settings.nats_tls_cert:
        return None
    context = ssl.create_default_context(cafile=settings.nats_tls_ca or None)
    if settings.nats_tls_cert:
        context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key or None)
    return context
