"""The database of the load tests that is far away: everything arrives, later."""

import asyncio
import time
from pathlib import Path

import psutil
import pytest
from loadtests.load.slowing import listen, slow_store
from pymongo import MongoClient

from trialbus.local.servers import MongodSpec
from trialbus.local.servers.ports import free_ports

DELAY_S = 0.03


async def test_the_proxy_keeps_order_and_delays_each_way_without_limiting_what_is_under_way() -> (
    None
):
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    behind = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = next(free_ports(1))
    proxy = await listen(port, behind.sockets[0].getsockname()[1], DELAY_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    sent = b"".join(b"%06d\n" % number for number in range(2000))
    for start in range(0, len(sent), 700):
        writer.write(sent[start : start + 700])
        await writer.drain()
    got = await asyncio.wait_for(reader.readexactly(len(sent)), 10)
    took = time.perf_counter() - began
    assert got == sent
    # Twenty pieces, one after the other, would take more than a second.
    assert 2 * DELAY_S <= took < 20 * 2 * DELAY_S
    writer.close()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    proxy.close()
    behind.close()


@pytest.mark.servers
async def test_a_slow_mongod_is_a_replica_set_as_any_and_ends_with_what_stands_for_it(
    tmp_path: Path,
) -> None:
    with slow_store(1000 * DELAY_S) as environment:
        binary = Path(environment["TRIALBUS_MONGOD_BIN"])
        process = await MongodSpec(binary=binary, folder=tmp_path).start()
        try:
            await process.ready()
            took = await asyncio.to_thread(_write_once, process.url)
            [behind] = psutil.Process(process.pid).children()
        finally:
            code = await process.stop()
    assert took >= 2 * DELAY_S
    assert code == 0
    assert not behind.is_running()


def test_without_a_delay_nothing_stands_before_the_store() -> None:
    with slow_store(0) as environment:
        assert environment == {}


def _write_once(url: str) -> float:
    with MongoClient[dict[str, int]](url) as client:
        things = client["some"]["things"]
        things.insert_one({"n": 1})
        began = time.perf_counter()
        things.insert_one({"n": 2})
        return time.perf_counter() - began
