"""Streams of a cluster of nats-servers: on as many as the settings say, also after a change."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
import pytest

from trialbus.contracts import subjects
from trialbus.local.provisioning import provision
from trialbus.local.servers.find import find_nats_server
from trialbus.local.servers.ports import free_ports
from trialbus.runtime.settings import Settings

pytestmark = pytest.mark.servers

DEADLINE_S = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of one of three servers."""
    ports = list(free_ports(6))
    routes = [f"nats-route://127.0.0.1:{port}" for port in ports[3:]]
    with ExitStack() as stack:
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings: dict[str, Any] = {
                "server_name": f"nats-{number}",
                "listen": f"127.0.0.1:{ports[number]}",
                "jetstream": {"store_dir": str(folder)},
                "cluster": {
                    "name": "tests",
                    "listen": f"127.0.0.1:{ports[3 + number]}",
                    "routes": routes,
                    "no_advertise": True,
                },
            }
            config = folder / "nats.conf"
            config.write_text(json.dumps(settings))
            command = [str(find_nats_server().path), "--config", str(config)]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield f"nats://127.0.0.1:{ports[0]}"


async def replicas(url: str) -> dict[str, int]:
    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream()
        names = (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM)
        found = {name: await jetstream.stream_info(name) for name in names}
    finally:
        await connection.close()
    return {name: int(info.config.num_replicas or 0) for name, info in found.items()}


async def test_streams_are_kept_on_as_many_servers_as_the_settings_say(cluster: str) -> None:
    both = (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM)
    for count in (1, 3):
        settings = Settings(nats_url=cluster, nats_replicas=count)  # type: ignore[call-arg]
        await provision(settings, within_s=DEADLINE_S)
        assert await replicas(cluster) == dict.fromkeys(both, count)
