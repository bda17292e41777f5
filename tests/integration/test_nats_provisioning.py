"""Streams are made as the settings say, also after a change; what keeps them from it is told."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from trialbus.contracts import subjects
from trialbus.kernel.errors import Transient
from trialbus.local.provisioning import provision
from trialbus.local.servers.find import find_nats_server
from trialbus.local.servers.ports import free_ports
from trialbus.runtime.settings import Settings

pytestmark = pytest.mark.servers

DEADLINE_S = 60.0


@contextmanager
def running(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """A nats-server with a configuration of its own."""
    folder.mkdir(exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(json.dumps(settings))
    command = [str(find_nats_server().path), "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of one of three servers."""
    ports = list(free_ports(6))
    routes = [f"nats-route://127.0.0.1:{port}" for port in ports[3:]]
    with ExitStack() as stack:
        for number in range(3):
            folder = tmp_path / str(number)
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
            stack.enter_context(running(folder, settings))
        yield f"nats://127.0.0.1:{ports[0]}"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[str]:
    """The address of a server that keeps 900 MiB on disk."""
    [port] = free_ports(1)
    store = {"store_dir": str(tmp_path), "max_file_store": 900 * 1024**2}
    with running(tmp_path, {"listen": f"127.0.0.1:{port}", "jetstream": store}):
        yield f"nats://127.0.0.1:{port}"


async def replicas(url: str) -> dict[str, int]:
    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream()
        names = (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM)
        found = {name: await jetstream.stream_info(name) for name in names}
    finally:
        await connection.close()
    return {name: int(info.config.num_replicas or 0) for name, info in found.items()}


async def kept_bytes(url: str) -> int:
    """What the event stream keeps at most."""
    connection = await nats.connect(url)
    try:
        info = await connection.jetstream().stream_info(subjects.EVENT_STREAM)
    finally:
        await connection.close()
    return int(info.config.max_bytes or 0)


async def test_streams_are_kept_on_as_many_servers_as_the_settings_say(cluster: str) -> None:
    both = (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM)
    for count in (1, 3):
        settings = Settings(nats_url=cluster, nats_replicas=count)  # type: ignore[call-arg]
        await provision(settings, within_s=DEADLINE_S)
        assert await replicas(cluster) == dict.fromkeys(both, count)


async def test_events_are_kept_as_the_settings_say_also_when_that_changes(cluster: str) -> None:
    for size in (64 * 1024**2, 32 * 1024**2):
        settings = Settings(nats_url=cluster, nats_event_bytes=size)  # type: ignore[call-arg]
        await provision(settings, within_s=DEADLINE_S)
        assert await kept_bytes(cluster) == size


async def test_what_keeps_a_stream_from_being_made_is_told(small: str) -> None:
    too_much = Settings(nats_url=small)  # type: ignore[call-arg]
    with pytest.raises(Transient, match="insufficient storage"):
        await provision(too_much, within_s=5.0)


async def test_a_stream_that_is_there_needs_no_room_for_another(small: str) -> None:
    """Every service without credentials makes it when it starts."""
    settings = Settings(nats_url=small, nats_event_bytes=512 * 1024**2)  # type: ignore[call-arg]
    for _ in range(2):
        await provision(settings, within_s=DEADLINE_S)
        assert await kept_bytes(small) == 512 * 1024**2
