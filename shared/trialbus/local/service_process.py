"""A service as the supervisor keeps it: its ports, its place in the logs, its health."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trialbus.local.fork_server import Order
from trialbus.local.forking import ForkedService, ForkServer
from trialbus.local.keeping import Kept, State
from trialbus.local.servers.ports import LOOPBACK, free_ports, is_free
from trialbus.local.stack_file import ProcessStatus
from trialbus.local.supervisor_log import log

GATEWAY = "gateway"
PORT_NAMES = ("health_port", "http_port", "grpc_port")
# Each gets its own gRPC port, whatever the user's environment says of the gateway's.
_PORT_NAMES_OF_OTHERS = ("health_port", "grpc_port")
# So many are drawn that some are left when others of this stack were given the same.
MOST_DRAWN = 64
# While it starts, people wait; afterwards a look is only for `trialbus status`.
FIRST_LOOK_S = 0.05
LOOK_S = 1.0
# What is not ready is looked at after a twentieth of the time that this has lasted already.
LOOK_SHARE = 0.05
HEALTH_DEADLINE_S = 2.0
MAX_LOG_BYTES = 16 * 1024 * 1024


class KeptService:
    """environ: addresses of the servers and the like, the same for all services. taken: ports of
    this stack, which no other of its services is given. last_ports: those that clients may
    remember; they are taken again where they are free."""

    def __init__(
        self,
        name: str,
        *,
        fork_server: ForkServer,
        environ: dict[str, str],
        log_folder: Path,
        changed: Callable[[], None],
        taken: set[int],
        last_ports: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.ports: dict[str, int] = {}
        self.kept = Kept(name, self._start, changed)
        self._fork_server = fork_server
        self._environ = environ
        self._log_path = log_folder / f"{name}.log"
        self._taken = taken
        self._was_ready = False
        self._watching: asyncio.Task[None] | None = None
        self._draw_ports(last_ports or {})

    def keep(self) -> None:
        self.kept.keep()
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self, grace_s: float) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.kept.stop(grace_s)

    @property
    def status(self) -> ProcessStatus:
        return ProcessStatus(
            pid=self.kept.pid,
            state=self.kept.state.value,
            restarts=self.kept.restarts,
            health=f"http://{LOOPBACK}:{self.ports['health_port']}",
        )

    async def _start(self) -> ForkedService:
        if not self._was_ready and self.kept.restarts:
            self._draw_ports({})  # somebody may have taken one since they were drawn
        self._keep_log_short()
        environ = {f"TRIALBUS_{name.upper()}": str(port) for name, port in self.ports.items()}
        order = Order(
            service=self.name, environ=self._environ | environ, log_path=str(self._log_path)
        )
        return await self._fork_server.fork(order)

    def _draw_ports(self, last_ports: Mapping[str, int]) -> None:
        wanted = PORT_NAMES if self.name == GATEWAY else _PORT_NAMES_OF_OTHERS
        last = {
            name: last_ports[name]
            for name in wanted
            if name in last_ports
            and last_ports[name] not in self._taken
            and is_free(last_ports[name])
        }
        self._taken.update(last.values())
        # None is listened on yet: what another service was given may still look free.
        drawn = (port for port in free_ports(MOST_DRAWN) if port not in self._taken)
        self.ports = {name: last.get(name) or next(drawn) for name in wanted}
        self._taken.update(self.ports.values())

    async def _watch(self) -> None:
        """Look at the service's own word for its state, and at the size of its log."""
        loop = asyncio.get_running_loop()
        last_ready_at = loop.time()
        while True:
            pid = self.kept.pid
            ready = pid is not None and await is_ready(self.ports["health_port"], pid)
            if self.kept.pid is not None and (ready or self.kept.state is not State.STARTING):
                self._was_ready |= ready
                self.kept.show(State.READY if ready else State.NOT_READY)
            self._keep_log_short()
            if ready:
                last_ready_at = loop.time()
            await asyncio.sleep(LOOK_S if ready else look_pause_s(loop.time() - last_ready_at))

    def _keep_log_short(self) -> None:
        try:
            keep_log_short(self._log_path)
        except OSError as error:  # the service goes on with a log that is too long
            log("log not moved aside", process=self.name, error=str(error))


def last_ports_of_gateway(folder: Path) -> Mapping[str, int]:
    """Where the gateway of this data folder listened last; what cannot be read is forgotten."""
    try:
        told = json.loads((folder / "run" / "gateway.json").read_text())
        addresses = {"http_port": str(told["http"]), "grpc_port": f"//{told['grpc']}"}
        ports = {name: urlsplit(text).port for name, text in addresses.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: port for name, port in ports.items() if port}


def look_pause_s(not_ready_s: float) -> float:
    """Soon at first; in a long outage as seldom as at what is well."""
    return min(max(LOOK_SHARE * not_ready_s, FIRST_LOOK_S), LOOK_S)


async def is_ready(port: int, pid: int) -> bool:
    """Whether `/readyz` says yes, and it is this process that says so: ports may be another's."""
    try:
        async with asyncio.timeout(HEALTH_DEADLINE_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
                # To its end: head and body may come apart.
                _, _, said = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            return status.split()[1:2] == [b"200"] and json.loads(said)["pid"] == pid
    except (OSError, TimeoutError, ValueError, KeyError, TypeError):
        return False


def keep_log_short(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move a large log's text to a second file, over the one before. Its writer appends, so it
    goes on at the new end; what it writes during the copy may be lost."""
    if not path.exists() or path.stat().st_size <= max_bytes:
        return
    path.with_suffix(".log.1").write_bytes(path.read_bytes())
    with path.open("r+b") as log:
        log.truncate()
