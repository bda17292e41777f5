"""Prometheus beside the stack of one machine: loopback only, with the stack's services as targets.

It is not needed, so it is not brought along: it is used where it is installed.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from trialbus.local.servers import ports
from trialbus.local.servers.find import Problem
from trialbus.local.servers.ports import LOOPBACK
from trialbus.local.servers.process import POLL_INTERVAL_S, ServerSpec

SETTING = "TRIALBUS_PROMETHEUS_BIN"
# In the wheel: the rules of deploy/prometheus, as one file.
RULES = Path(__file__).parents[1] / "observing" / "rules.yaml"
TARGETS = "targets.json"
# Not its address: ports change with each start, and the series of the process before, which stay
# for some minutes, would count beside those of its successor.
INSTANCE = "this-machine"
# Burn rates look back three days; more than either bound is thrown away.
RETENTION = "15d"
RETENTION_SIZE = "2GB"
SCRAPE_INTERVAL = "5s"
HEALTH_TIMEOUT_S = 2.0
_READY = "Server is ready to receive web requests"
_LAST_PORT = re.compile(r"^# port: (\d+)$", re.MULTILINE)
_REMEDY = f"install it (Debian, Ubuntu: apt-get install prometheus), or set {SETTING} to it"


def find_prometheus() -> Path | Problem:
    """The program that the setting names, else the one on PATH; or why there is none."""
    named = os.environ.get(SETTING)
    if named:
        path = Path(named).expanduser().absolute()
        if path.is_file() and os.access(path, os.X_OK):
            return path
        return Problem(what=f"{SETTING} is {named}, which is no program", remedy=_REMEDY)
    found = shutil.which("prometheus")
    if found is None:
        return Problem(what="prometheus was not found on PATH", remedy=_REMEDY)
    return Path(found)


class PrometheusSpec(ServerSpec):
    """Scrapes what `write_targets` names, in intervals of five seconds."""

    name = "prometheus"

    def __init__(self, *, binary: Path, folder: Path, port: int | None = None) -> None:
        super().__init__(binary=binary, folder=folder, port=port)
        # It has no log file of its own: what it prints is kept.
        self.log_path = self._output_path
        self._listen_port = 0

    def command(self) -> list[str]:
        return [
            str(self.binary),
            f"--config.file={self.config_path}",
            f"--web.listen-address={LOOPBACK}:{self._listen_port}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--storage.tsdb.retention.size={RETENTION_SIZE}",
            "--enable-feature=exemplar-storage",
        ]

    def url(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}"

    def _first_ports(self) -> Iterator[int]:
        """That of the last run comes first: people and Grafana know it."""
        if self.config_path.exists():
            last = _LAST_PORT.search(self.config_path.read_text())
            if last and ports.is_free(int(last[1])):
                yield int(last[1])
        yield from super()._first_ports()

    def _config(self, port: int) -> str:
        self._listen_port = port
        targets = self.folder / TARGETS
        if not targets.exists():
            targets.write_text("[]\n")
        settings = {
            "global": {
                "scrape_interval": SCRAPE_INTERVAL,
                "evaluation_interval": SCRAPE_INTERVAL,
            },
            "rule_files": [str(RULES)] if RULES.exists() else [],
            "scrape_configs": [
                {
                    "job_name": "trialbus",
                    "honor_labels": True,
                    "file_sd_configs": [{"files": [str(targets)]}],
                }
            ],
        }
        return f"# port: {port}\n{yaml.safe_dump(settings, sort_keys=False)}"

    def _log_since(self, start: int) -> str:
        """All that this process printed: its file begins anew with each."""
        del start
        return super()._log_since(0)

    def _listens(self, pid: int, new_log: str) -> bool:
        del pid
        return _READY in new_log

    async def _make_ready(self, port: int, pid: int) -> None:
        del pid
        while True:
            if await _is_ready(port):
                return
            await asyncio.sleep(POLL_INTERVAL_S)


def write_targets(folder: Path, healths: Mapping[str, str]) -> None:
    """healths: by service, the base URL of its pages. Prometheus reads the file again whenever it
    changes; it is replaced at once. Raises OSError."""
    told = [
        {
            "targets": [url.removeprefix("http://")],
            "labels": {"service": service, "instance": INSTANCE},
        }
        for service, url in sorted(healths.items())
    ]
    text = json.dumps(told, indent=2) + "\n"
    path = folder / TARGETS
    if path.exists() and path.read_text() == text:
        return
    new = folder / f"{TARGETS}.new"
    new.write_text(text)
    new.replace(path)


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"GET /-/ready HTTP/1.0\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
