"""A service says again and again that it is alive, so that others can say when it is not."""

from trialbus.contracts.collections import HEARTBEATS
from trialbus.contracts.documents import HEARTBEAT
from trialbus.kernel.errors import Transient
from trialbus.kernel.heartbeats import Heartbeat, heartbeat_id
from trialbus.kernel.limits import HEARTBEAT_S
from trialbus.ports.store import Write
from trialbus.runtime.parts import Parts


class Beating:
    """In the event loop of what it tells of: who is frozen does not beat. host: as `Behaviour`
    has it."""

    def __init__(self, parts: Parts, service: str, host: str) -> None:
        self._parts = parts
        self._service = service
        self._host = host

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.beat()
            except Transient as error:
                # Whoever looks cannot look either, or sees that it does not beat.
                self._parts.telemetry.log.debug("no heartbeat", error=str(error))
            await self._parts.clock.sleep(HEARTBEAT_S)

    async def beat(self) -> None:
        """Unless another replica has, just now; whose beat it is does not matter. Raises
        Transient."""
        key, now = heartbeat_id(self._service, self._host), self._parts.clock.now()
        base = (await self._parts.store.get_many(HEARTBEATS.name, [key])).get(key)
        if base is not None and 0 <= now - base.get("heard_at", 0.0) < HEARTBEAT_S / 2:
            return
        heartbeat = Heartbeat(
            id=key,
            version=1 if base is None else base["version"] + 1,
            service=self._service,
            host=self._host,
            heard_at=now,
        )
        write = Write(base=base, document=HEARTBEAT.encode(heartbeat))
        await self._parts.store.commit(HEARTBEATS.name, [write])
