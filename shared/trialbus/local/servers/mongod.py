"""mongod as a replica set of one for one machine: journaled, small, quick to start again."""

import os
import re
import signal
from collections.abc import Callable, Iterator

import yaml

from trialbus.local.servers import ports, replica_set
from trialbus.local.servers.ports import LOOPBACK
from trialbus.local.servers.process import MAX_LOG_BYTES, ServerSpec

CACHE_GB = 0.25  # the smallest that mongod takes
# Only change streams read the oplog of a single node; it also caps what a crash leaves to replay.
OPLOG_MB = 64
# The default of 100 MB is allocated three times over at the first start. Not a durability setting:
# a record larger than a journal file gets a longer file of its own.
JOURNAL_FILE_MB = 16
JOURNAL = (
    f"log=(enabled=true,remove=true,path=journal,compressor=snappy,file_max={JOURNAL_FILE_MB}MB)"
)
# "Waiting for connections", of this very process: the id is stable since MongoDB 4.4.
_LISTENS = re.compile(r'"id":\s*23016\b')
_LAST_PORT = re.compile(r"^\s+port: (\d+)$", re.MULTILINE)


class MongodSpec(ServerSpec):
    """Loopback only, data below the folder. Every start makes it a writable primary."""

    name = "mongod"

    def command(self) -> list[str]:
        return [str(self.binary), "--config", str(self.config_path)]

    def url(self, port: int) -> str:
        # With the set's name a driver waits for the primary through a restart; with
        # directConnection it would send writes before the election and get errors.
        return f"mongodb://{LOOPBACK}:{port}/?replicaSet={replica_set.NAME}"

    def _listens(self, pid: int, new_log: str) -> bool:
        del pid
        return _LISTENS.search(new_log) is not None

    def _first_ports(self) -> Iterator[int]:
        """The port of the last run comes first: the stored member address then stays true."""
        if self.config_path.exists():
            last = _LAST_PORT.search(self.config_path.read_text())
            if last and ports.is_free(int(last[1])):
                yield int(last[1])
        yield from super()._first_ports()

    def _config(self, port: int) -> str:
        (self.folder / "data").mkdir(exist_ok=True, mode=0o700)
        self.trim_log()
        settings = {
            "systemLog": {
                "destination": "file",
                "path": str(self.log_path),
                "logAppend": True,
                "logRotate": "reopen",
                "quiet": True,
            },
            "net": {"bindIp": LOOPBACK, "port": port, "unixDomainSocket": {"enabled": False}},
            "replication": {"replSetName": replica_set.NAME, "oplogSizeMB": OPLOG_MB},
            "storage": {
                "dbPath": str(self.folder / "data"),
                "wiredTiger": {"engineConfig": {"cacheSizeGB": CACHE_GB, "configString": JOURNAL}},
            },
            "security": {"javascriptEnabled": False},
            "setParameter": {"diagnosticDataCollectionEnabled": False},
        }
        return yaml.safe_dump(settings, sort_keys=False)

    async def _make_ready(self, port: int, pid: int) -> None:
        del pid
        await replica_set.make_primary(port)

    def _log_trimmer(self) -> Callable[[int], None]:
        return self.trim_log

    def trim_log(self, pid: int | None = None, max_bytes: int = MAX_LOG_BYTES) -> None:
        """Move a large log aside, over the one before; a running mongod is told to open a new one.

        mongod bounds neither the size nor the number of its log files.
        """
        if not self.log_path.exists() or self.log_path.stat().st_size <= max_bytes:
            return
        self.log_path.replace(self.log_path.with_suffix(".log.1"))
        if pid is not None:
            os.kill(pid, signal.SIGUSR1)
