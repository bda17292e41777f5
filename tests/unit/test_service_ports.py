"""A stack's services get ports of their own, and only their own word for their readiness."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from trialbus.local import service_process
from trialbus.local.forking import ForkServer
from trialbus.local.service_process import KeptService, is_ready

OURS, ANOTHER = 4711, 4712


@asynccontextmanager
async def answering(status: str, body: bytes) -> AsyncIterator[int]:
    """The port of a server that says this to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Apart, as a server may write them.
        for piece in (f"HTTP/1.1 {status}\r\n".encode(), b"server: x\r\n\r\n", body):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("status", "body", "believed"),
    [
        ("200 OK", json.dumps({"ready": True, "pid": OURS}).encode(), True),
        ("200 OK", json.dumps({"ready": True, "pid": ANOTHER}).encode(), False),
        ("503 Service Unavailable", json.dumps({"ready": False, "pid": OURS}).encode(), False),
        ("200 OK", b"<html>", False),
        ("200 OK", b'["pid"]', False),
        ("200 OK", b"", False),
        ("200 OK", b"\xff" * 10_000, False),
    ],
)
async def test_only_a_process_itself_can_say_that_it_is_ready(
    status: str, body: bytes, believed: bool
) -> None:
    async with answering(status, body) as port:
        assert await is_ready(port, OURS) == believed


async def test_who_does_not_answer_is_not_ready() -> None:
    async with answering("200 OK", b"") as port:
        pass
    assert not await is_ready(port, OURS)


def test_no_two_services_of_a_stack_are_given_the_same_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens yet, so each drawing may find the same ones free."""

    def same_each_time(count: int) -> Iterator[int]:
        yield from range(20_000, 20_000 + count)

    monkeypatch.setattr(service_process, "free_ports", same_each_time)
    monkeypatch.setattr(service_process, "is_free", lambda _port: True)
    taken: set[int] = set()

    def service(name: str, last_ports: dict[str, int]) -> KeptService:
        return KeptService(
            name,
            fork_server=cast("ForkServer", None),
            environ={},
            log_folder=tmp_path,
            changed=lambda: None,
            taken=taken,
            last_ports=last_ports,
        )

    first = service("experiment", {})
    gateway = service("gateway", {"http_port": 20_001, "grpc_port": 25_000})
    later = service("suggestion", {})
    drawn = [port for each in (first, gateway, later) for port in each.ports.values()]
    assert len(drawn) == len(set(drawn)) == 7
    assert gateway.ports["grpc_port"] == 25_000
    assert taken == set(drawn)
