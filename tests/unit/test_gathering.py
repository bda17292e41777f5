"""Requests that come close together are answered as one group, as long as others do come."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import Connection
from trialbus.adapters.nats_bus.serving import Company, _Server
from trialbus.ports.bus import Request
from trialbus.testkit.waits import until

# Nothing in these tests takes so long.
LONG_S = 60.0


class Wire:
    def may_answer(self, _reply: str) -> bool:
        return True

    async def publish(self, _subject: str, _data: bytes) -> None:
        return None


class Answering:
    def __init__(self, gather_s: float) -> None:
        self.groups: list[list[bytes]] = []
        wire = cast(Connection, Wire())
        self.server = _Server(wire, self._respond, 256, 4, Company(gather_s))

    async def _respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        self.groups.append([it.data for it in requests])
        return [b"" for _ in requests]

    def ask(self, data: bytes) -> None:
        self.server.on_request(Msg(cast(Any, None), subject="s", reply="r", data=data))


@asynccontextmanager
async def answering(gather_s: float) -> AsyncIterator[Answering]:
    found = Answering(gather_s)
    task = asyncio.create_task(found.server.run())
    try:
        yield found
    finally:
        found.server.leave()
        await task


async def _turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_waits_for_another_and_both_are_one_group() -> None:
    async with answering(LONG_S) as it:
        it.ask(b"a")
        await _turns()
        assert it.groups == []
        it.ask(b"b")
        await until(lambda: bool(it.groups), "an answer")
        assert it.groups == [[b"a", b"b"]]


async def test_where_nobody_gathers_each_is_answered_at_once() -> None:
    async with answering(0.0) as it:
        it.ask(b"a")
        await _turns()
        it.ask(b"b")
        await until(lambda: len(it.groups) == 2, "two answers")
        assert it.groups == [[b"a"], [b"b"]]


async def test_who_waits_in_vain_is_answered_and_the_next_is_not_kept() -> None:
    async with answering(0.01) as it:
        it.ask(b"a")
        await until(lambda: it.groups == [[b"a"]], "an answer")
        it.ask(b"b")
        await _turns()
        assert it.groups == [[b"a"], [b"b"]]


async def test_what_is_kept_is_answered_when_the_service_leaves() -> None:
    async with answering(LONG_S) as it:
        it.ask(b"a")
        await _turns()
    assert it.groups == [[b"a"]]


def test_a_group_waits_until_it_is_as_large_as_the_last_one() -> None:
    company = Company(1.0)
    company.leave(3)
    assert [company.wait_s(count) for count in (1, 2, 3, 4)] == [1.0, 1.0, 0.0, 0.0]
    company.leave(1)
    assert [company.wait_s(count) for count in (1, 2)] == [1.0, 0.0]


@pytest.mark.parametrize("tries", [1, 5, 10])
def test_the_lonely_are_kept_ever_more_rarely(tries: int) -> None:
    company = Company(1.0)
    passed = []
    for _ in range(tries):
        count = 0
        while not company.wait_s(1):
            count += 1
        company.came(1)
        passed.append(count)
    assert passed == [0, 1, 3, 7, 15, 31, 63, 64, 64, 64][:tries]
    company.came(2)
    assert company.wait_s(1) == 1.0
