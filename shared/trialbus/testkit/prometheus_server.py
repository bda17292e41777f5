"""A real Prometheus beside a stack under test, and what can be asked of it or of what answers as
it does."""

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

PROMETHEUS = shutil.which("prometheus")
ANSWER_S = 30.0
_CONFIGURATION, _TARGETS = "prometheus.yml", "targets.json"
Values = list[tuple[float, float]]


class PrometheusApi:
    """base: before `/api/v1`. token: sent with each request, if there is one."""

    def __init__(self, base: str, token: str = "") -> None:
        self.base = base
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, path: str, **query: str | float) -> Any:
        """The data of an answer. Raises OSError, AssertionError where it says that it failed."""
        url = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers=self._headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def now(self, query: str, at: float) -> dict[tuple[str, ...], float]:
        """Series by their labels as `name=value`, with their finite values."""
        result = self.ask("query", query=query, time=at)["result"]
        told = {_key(it["metric"]): float(it["value"][1]) for it in result}
        return {labels: value for labels, value in told.items() if isfinite(value)}

    def over(
        self, query: str, since: float, until: float, step_s: float
    ) -> dict[tuple[str, ...], Values]:
        """Each series' finite values with their times."""
        result = self.ask("query_range", query=query, start=since, end=until, step=step_s)["result"]
        told = {_key(it["metric"]): [(at, float(v)) for at, v in it["values"]] for it in result}
        finite = {key: [it for it in rows if isfinite(it[1])] for key, rows in told.items()}
        return {key: rows for key, rows in finite.items() if rows}

    def exemplars(self, query: str, since: float, until: float) -> list[Mapping[str, Any]]:
        found = self.ask("query_exemplars", query=query, start=since, end=until)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class PrometheusServer(PrometheusApi):
    """One that runs, on a folder of its own."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self._folder = folder

    def scrape(self, targets: Mapping[str, str]) -> None:
        """targets: service -> host:port. Takes the place of those before; in a few seconds."""
        groups = [
            {"targets": [address], "labels": {"service": service}}
            for service, address in targets.items()
        ]
        new = self._folder / f"{_TARGETS}.new"
        new.write_text(json.dumps(groups))
        new.replace(self._folder / _TARGETS)


@contextmanager
def running_prometheus(
    folder: Path, *, rules: Sequence[Path], every_s: float
) -> Iterator[PrometheusServer]:
    """rules: files of rules. every_s: between two scrapes, and two evaluations of each rule,
    whatever interval it asks for."""
    assert PROMETHEUS is not None
    folder.mkdir(parents=True)
    interval = f"{round(every_s * 1000)}ms"
    targets = {"files": [str(folder / _TARGETS)], "refresh_interval": "1s"}
    configuration = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [_without_intervals(path, folder) for path in rules],
        "scrape_configs": [
            {
                "job_name": "trialbus",
                "honor_labels": True,
                "scrape_timeout": interval,
                "file_sd_configs": [targets],
            }
        ],
    }
    (folder / _CONFIGURATION).write_text(yaml.safe_dump(configuration))
    port = _free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / _CONFIGURATION}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield PrometheusServer(port, folder)
        finally:
            process.terminate()
            process.wait()


def _without_intervals(rules: Path, folder: Path) -> str:
    """A copy of a file of rules: no test waits for a minute."""
    content = yaml.safe_load(rules.read_text())
    for group in content["groups"]:
        group.pop("interval", None)
    copy = folder / f"rules-{rules.name}"
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(copy)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _key(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(f"{name}={value}" for name, value in labels.items()))
