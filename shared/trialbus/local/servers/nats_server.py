"""nats-server with JetStream for one machine. No fsync per message: MongoDB is the truth.

With accounts it runs as a secured one does anywhere, fsync included.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from trialbus.adapters.processes import lives
from trialbus.local.servers.ports import LOOPBACK
from trialbus.local.servers.process import MAX_LOG_BYTES, POLL_INTERVAL_S, ServerSpec

# Twice the largest message of the system with its headers, and room for foreign publishers.
MAX_PAYLOAD_BYTES = 1024 * 1024
# Events are kept for replays by people; the streams' own limits are below these.
MAX_FILE_STORE_BYTES = 4 * 1024**3
MAX_MEMORY_STORE_BYTES = 64 * 1024**2
HEALTH_TIMEOUT_S = 2.0


class NatsServerSpec(ServerSpec):
    """Loopback only, JetStream below the folder, a monitoring port for health. accounts: a file
    that says who may connect and do what (read again at SIGHUP); None: anybody on this machine."""

    name = "nats-server"

    def __init__(
        self, *, binary: Path, folder: Path, port: int | None = None, accounts: Path | None = None
    ) -> None:
        super().__init__(binary=binary, folder=folder, port=port)
        self._accounts = accounts

    @property
    def store_folder(self) -> Path:
        """Of the streams: with accounts another one, because a server is never healthy over
        streams of an account that it does not know. What is in them can all be made again."""
        return self.folder / ("data" if self._accounts is None else "secured-data")

    def command(self) -> list[str]:
        return [str(self.binary), "--config", str(self.config_path)]

    def url(self, port: int) -> str:
        return f"nats://{LOOPBACK}:{port}"

    def monitoring_url(self, pid: int) -> str | None:
        """Base URL of the monitoring endpoints (`/healthz`, `/jsz`), once that process listens."""
        try:
            listening = json.loads(self._ports_file(pid).read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # not there, or half written
            return None
        return str(listening["monitoring"][0])

    def _ports_file(self, pid: int) -> Path:
        return self.folder / f"{self.binary.name}_{pid}.ports"

    def _listens(self, pid: int, new_log: str) -> bool:
        del new_log
        return self.monitoring_url(pid) is not None

    def _config(self, port: int) -> str:
        self._remove_stale_ports_files()
        # JSON is valid configuration syntax, and quotes any path.
        settings: dict[str, Any] = {
            "server_name": "trialbus-local",
            "host": LOOPBACK,
            "port": port,
            "http": f"{LOOPBACK}:-1",
            "ports_file_dir": str(self.folder),
            "log_file": str(self.log_path),
            "log_size_limit": MAX_LOG_BYTES,
            "log_max_num": 1,
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self.store_folder),
                "max_file_store": MAX_FILE_STORE_BYTES,
                "max_memory_store": MAX_MEMORY_STORE_BYTES,
            },
        }
        if self._accounts is None:
            return json.dumps(settings, indent=2) + "\n"
        settings["jetstream"]["sync_interval"] = "always"
        # The server takes only paths that are relative to its configuration.
        include = json.dumps(os.path.relpath(self._accounts, self.folder))
        lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        return "\n".join([f"include {include}", *lines]) + "\n"

    def _remove_stale_ports_files(self) -> None:
        """Those that killed servers left: a pid may come again. A living one keeps its file."""
        for ports_file in self.folder.glob(f"{self.binary.name}_*.ports"):
            if not lives(int(ports_file.stem.rpartition("_")[2])):
                ports_file.unlink(missing_ok=True)

    async def _make_ready(self, port: int, pid: int) -> None:
        del port
        while True:
            monitoring = self.monitoring_url(pid)
            if monitoring and await _healthy(int(monitoring.rpartition(":")[2])):
                return
            await asyncio.sleep(POLL_INTERVAL_S)


async def _healthy(monitoring_port: int) -> bool:
    """`/healthz` says 200 once JetStream has recovered its streams and consumers."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, monitoring_port)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
