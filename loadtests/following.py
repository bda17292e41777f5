"""Many people who watch: the gateway's processor time for server-sent events."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from loadtests.scenarios import Measured
from loadtests.stack import NAMESPACE, Stack, experiment, running_stack
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.events import Event

_EXPERIMENTS = 20
_CLIENTS = 200
_EVENTS_A_SECOND = 10  # of each experiment
_LASTS_S = 20.0
_WITHIN_S = 60.0
_LAST = "the last one"


@dataclass(frozen=True, slots=True)
class _Watched:
    name: str
    uid: str


async def followers() -> Measured:
    """200 clients that follow 20 experiments at 10 events a second each. The events are published
    directly; every client must get every one of them."""
    async with running_stack() as stack:
        watched = [await _created(stack, f"watched-{i}") for i in range(_EXPERIMENTS)]
        for it in watched:
            await stack.ended(it.uid, within_s=_WITHIN_S)
        gateway = psutil.Process(stack.status["services"]["gateway"]["pid"])
        nats = psutil.Process(stack.status["servers"]["nats-server"]["pid"])
        each = [watched[i % _EXPERIMENTS] for i in range(_CLIENTS)]
        opened = asyncio.Semaphore(0)
        clients = [asyncio.create_task(_follow(stack, it, opened)) for it in each]
        for _ in clients:
            await opened.acquire()
        bus = await NatsBus.open(ConnectionOptions(servers=[stack.status["nats"]], name="bench"))
        try:
            before = (_seconds(gateway), _seconds(nats))
            count = await _publish(bus, watched)
            got = await asyncio.wait_for(asyncio.gather(*clients), _WITHIN_S)
            # Per second of events, however long a busy machine took for them.
            cores = (_seconds(gateway) - before[0]) / _LASTS_S
            nats_cores = (_seconds(nats) - before[1]) / _LASTS_S
        finally:
            await bus.close()
    if missing := [f"{it}/{count}" for it in got if it != count]:
        raise RuntimeError(f"{len(missing)} clients did not get all: {missing[:5]}")
    return {
        "200 followers, gateway": cores,
        "200 followers, gateway and nats-server": cores + nats_cores,
    }


async def _created(stack: Stack, name: str) -> _Watched:
    argv = ("/bin/echo", "loss=${trialParameters.x}")
    return _Watched(name, await stack.apply(experiment(name, argv, trials=1, parallel=1)))


async def _publish(bus: NatsBus, watched: Sequence[_Watched]) -> int:
    """At an even pace; how many of each."""
    count = int(_LASTS_S * _EVENTS_A_SECOND)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(count):
        last = number == count - 1
        await bus.publish([encode_event(_event(it, number, last=last)) for it in watched])
        await asyncio.sleep(max(0.0, began + (number + 1) / _EVENTS_A_SECOND - loop.time()))
    return count


def _event(watched: _Watched, number: int, *, last: bool) -> Event:
    """As large as one of a trial that ended well."""
    return Event(
        id=f"{watched.uid}.bench.{number}",
        type="trial.succeeded",
        uid=watched.uid,
        namespace=NAMESPACE,
        experiment=watched.name,
        at=time.time(),
        trial=f"{watched.name}-abcdefgh",
        reason="TrialSucceeded",
        message=_LAST if last else "Trial has succeeded",
        data={"index": number, "attempt": 1, "value": 0.5, "finished": number},
    )


async def _follow(stack: Stack, watched: _Watched, opened: asyncio.Semaphore) -> int:
    """How many of the published events came, in order; returns with the last. A bare reader: the
    clients share the machine with what is measured."""
    address = urlsplit(stack.status["http"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    path = f"/v1/namespaces/{NAMESPACE}/experiments/{watched.name}/events?follow=true"
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    opened.release()
    found: int = 0
    try:
        async for line in reader:
            if not line.startswith(b"data: ") or b".bench." not in line:
                continue
            index = int(json.loads(line[6:])["data"]["data"]["index"])
            found += index == found
            if _LAST.encode() in line:
                return found
    finally:
        writer.close()
    raise RuntimeError(f"the stream of {watched.name} ended after {found} events")


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
