"""The processes of one stack: started side by side, kept alive, stopped in order."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from trialbus.local import stack_file
from trialbus.local.bus_guard import BusGuard
from trialbus.local.failures import StackFailed
from trialbus.local.forking import ForkServer
from trialbus.local.keeping import Kept, State
from trialbus.local.servers import (
    MongodSpec,
    NatsServerSpec,
    Problem,
    ServerFailed,
    ServerMissing,
    ServerProcess,
    ServerSpec,
    find_mongod,
    find_nats_server,
    require,
)
from trialbus.local.servers.ports import LOOPBACK
from trialbus.local.servers.prometheus import PrometheusSpec, find_prometheus, write_targets
from trialbus.local.service_process import GATEWAY, KeptService, last_ports_of_gateway
from trialbus.local.stack_file import ProcessStatus, StackStatus
from trialbus.local.supervisor_log import log

# A service drains for at most 10 s and then closes its connections.
SERVICE_GRACE_S = 15.0
SERVER_GRACE_S = 15.0
NATS_FOLDER = "nats"
PROMETHEUS_FOLDER = "prometheus"
# New commands end first; what the gateway still streams need not hold the others up.
GATEWAY_HEAD_START_S = 0.05
# To a disk that was full.
WRITE_AGAIN_S = 1.0


class Stack:
    """services: names, in the order in which they are told to stop. They drain side by side, the
    gateway ahead of the others, and the servers stop after all of them. secure: each has an
    identity of its own on the bus; a folder where that was once asked for stays so. observe: with
    Prometheus beside them, where it is installed."""

    def __init__(
        self,
        folder: Path,
        services: Sequence[str],
        fork_server: ForkServer,
        *,
        owned: bool,
        secure: bool = False,
        observe: bool = False,
    ) -> None:
        self._folder = folder
        self._observe = observe
        self._guard = BusGuard.of(folder, secure=secure)
        self._owned = owned
        self._image_map = stack_file.mapping_in(os.environ, stack_file.IMAGE_MAP)
        self._path_map = stack_file.mapping_in(os.environ, stack_file.PATH_MAP)
        self._fork_server = fork_server
        self._names = tuple(services)
        self._servers: dict[str, Kept] = {}
        self._urls: dict[str, str] = {}
        self._services: dict[str, KeptService] = {}
        self._service_ports: set[int] = set()
        self._writing_again: asyncio.TimerHandle | None = None
        self._log_folder = folder / "logs"
        self._log_folder.mkdir(exist_ok=True, mode=0o700)

    @property
    def is_secure(self) -> bool:
        return self._guard is not None

    async def start(self) -> None:
        """Return once the servers take work and the services are being started. Raises
        StackFailed."""
        nats = asyncio.to_thread(find_nats_server)
        mongod = asyncio.to_thread(find_mongod)
        found = await asyncio.gather(nats, mongod)
        try:
            binaries = [require(binary) for binary in found]
        except ServerMissing:
            problems = [str(problem) for binary in found for problem in binary.problems]
            raise StackFailed("\n".join(problems)) from None
        accounts = None
        if self._guard is not None:
            accounts = await asyncio.to_thread(self._guard.make)
        specs: list[ServerSpec] = [
            NatsServerSpec(
                binary=binaries[0], folder=self._folder / NATS_FOLDER, accounts=accounts
            ),
            MongodSpec(binary=binaries[1], folder=self._folder / "mongod"),
        ]
        try:
            async with asyncio.TaskGroup() as starting:
                for spec in specs:
                    starting.create_task(self._start_server(spec))
                if self._observe:
                    starting.create_task(self._start_observer())
        except ExceptionGroup as group:
            raise StackFailed("\n".join(str(each) for each in group.exceptions)) from group
        for name in self._names:
            self._start_service(name)
        self._write()

    async def _start_server(self, spec: ServerSpec) -> None:
        kept = Kept(spec.name, lambda: self._revive(spec), self._write)
        process = await spec.start()
        self._servers[spec.name] = kept
        kept.keep(process)
        await process.ready()
        self._urls[spec.name] = process.url
        await self._provide(spec, process)
        kept.show(State.READY)

    async def _start_observer(self) -> None:
        """Whoever looks on is never needed: the stack goes on without."""
        binary = find_prometheus()
        if isinstance(binary, Problem):
            log("not observed", problem=str(binary))
            return
        spec = PrometheusSpec(binary=binary, folder=self._folder / PROMETHEUS_FOLDER)
        try:
            await self._start_server(spec)
        except (ServerFailed, OSError) as error:
            log("not observed", problem=str(error))

    async def _revive(self, spec: ServerSpec) -> ServerProcess:
        process = await spec.start()
        try:
            await process.ready()
            await self._provide(spec, process)
        except (ServerFailed, asyncio.CancelledError):
            await process.stop()
            raise
        self._servers[spec.name].show(State.READY)
        return process

    async def _provide(self, spec: ServerSpec, process: ServerProcess) -> None:
        """What services may not make themselves. A new store of streams is empty."""
        if self._guard is not None and spec.name == NatsServerSpec.name:
            await self._guard.provision(process.url)

    def _start_service(self, name: str) -> None:
        environ = {
            "TRIALBUS_NATS_URL": self._urls[NatsServerSpec.name],
            "TRIALBUS_MONGO_URL": self._urls[MongodSpec.name],
            "TRIALBUS_DATA_DIR": str(self._folder),
            "TRIALBUS_HOST": LOOPBACK,
            "TRIALBUS_NATS_SEED_FILE": self._guard.seed_of(name) if self._guard else "",
            # What the user's environment says is of another server.
            "TRIALBUS_NATS_TLS_CA": "",
            "TRIALBUS_NATS_TLS_CERT": "",
        }
        self._services[name] = KeptService(
            name,
            fork_server=self._fork_server,
            environ=environ,
            log_folder=self._log_folder,
            changed=self._write,
            taken=self._service_ports,
            last_ports=last_ports_of_gateway(self._folder) if name == GATEWAY else {},
        )
        self._services[name].keep()

    def keep(self) -> None:
        """From now on it belongs to nobody."""
        self._owned = False
        self._write()

    async def stop(self) -> None:
        """Services first, so that they can finish what they have in hand. Never raises for a
        process that has ended already."""
        stopping = []
        for name in self._names:
            if name in self._services:
                stop = self._services[name].stop(SERVICE_GRACE_S)
                stopping.append(asyncio.ensure_future(stop))
                if name == GATEWAY:
                    await asyncio.wait(stopping, timeout=GATEWAY_HEAD_START_S)
        await asyncio.gather(*stopping)
        await self._fork_server.close()
        await asyncio.gather(*(kept.stop(SERVER_GRACE_S) for kept in self._servers.values()))
        if self._writing_again is not None:
            self._writing_again.cancel()

    @property
    def status(self) -> StackStatus:
        gateway = self._services.get(GATEWAY)
        ports = gateway.ports if gateway else {}
        return StackStatus(
            http=f"http://{LOOPBACK}:{ports.get('http_port', 0)}",
            grpc=f"{LOOPBACK}:{ports.get('grpc_port', 0)}",
            nats=self._urls.get(NatsServerSpec.name, ""),
            mongo=self._urls.get(MongodSpec.name, ""),
            pid=os.getpid(),
            data_dir=str(self._folder),
            owned=self._owned,
            image_map=self._image_map,
            path_map=self._path_map,
            nats_auth=str(self._guard.folder) if self._guard else "",
            prometheus=self._urls.get(PrometheusSpec.name, ""),
            services={name: service.status for name, service in self._services.items()},
            servers={
                name: ProcessStatus(pid=kept.pid, state=kept.state.value, restarts=kept.restarts)
                for name, kept in self._servers.items()
            },
        )

    def _write(self) -> None:
        """Now, or as soon as the disk takes it: processes are kept alive without it too."""
        if self._writing_again is not None:
            self._writing_again.cancel()
            self._writing_again = None
        if len(self._services) != len(self._names):
            return
        try:
            stack_file.write(self._folder, self.status)
            self._write_targets()
        except OSError as error:
            log("not written", file=stack_file.FILE, error=str(error))
            loop = asyncio.get_running_loop()
            self._writing_again = loop.call_later(WRITE_AGAIN_S, self._write)

    def _write_targets(self) -> None:
        """Ports change when a service was restarted before it was ever ready. Raises OSError."""
        if PrometheusSpec.name in self._urls:
            healths = {name: it.status.health or "" for name, it in self._services.items()}
            write_targets(self._folder / PROMETHEUS_FOLDER, healths)
