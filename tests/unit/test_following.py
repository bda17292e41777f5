"""What a launcher does with its runs' metrics while nobody takes them, or it cannot have them."""

import asyncio
import errno
from dataclasses import dataclass, field

from trialbus.kernel.limits import READ_BLOCK_BYTES
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.metric_lines import LineParser, MetricFilter
from trialbus.kernel.run import Run, RunPhase
from trialbus.ports.launcher import RunPlan, RunStatus
from trialbus.testkit.memory_launcher import MemoryWorld, Script
from trialbus.testkit.still_world import UID, HastyClock, StillWorld
from trialbus_trial_launcher.app.following import Following

LINE = b"loss=1\n"
RUN = f"{UID}.0.1"


@dataclass
class EndlessSource:
    """As much output as anybody reads."""

    read_to: int = 0
    gathered: int = 0
    is_live: bool = True
    missing: str = ""
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def reader(self, start: int) -> LineReader:
        return LineParser(MetricFilter.compile(()), ("loss",), start=start)

    async def gather(self) -> None:
        self.gathered += 1
        if self.gathered == 10:
            self.enough.set()

    async def finish(self, _status: RunStatus, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        data = LINE * (max_bytes // len(LINE))
        self.read_to = max(self.read_to, from_byte + len(data))
        return data

    async def looked(self) -> str:
        return ""


async def test_without_a_collector_no_more_output_is_read_than_one_block() -> None:
    source, parts = EndlessSource(), StillWorld(clock=HastyClock()).parts()
    following = Following(parts, MemoryWorld(_never).launcher(), lambda *_: None, _as_it_is)
    following.add(_run(), source, "loss")
    shipping = asyncio.ensure_future(following.ship_live())
    async with asyncio.timeout(30.0):
        await source.enough.wait()
    shipping.cancel()
    await following.close()
    assert 0 < source.read_to <= READ_BLOCK_BYTES


async def test_a_machine_that_is_short_of_something_delays_an_end_and_not_for_ever() -> None:
    ends: asyncio.Queue[Run] = asyncio.Queue()
    world = MemoryWorld(lambda _id, _plan: Script(duration_s=0.0))
    launcher, parts = world.launcher(), StillWorld(clock=HastyClock()).parts()
    following = Following(parts, launcher, lambda _, after: ends.put_nowait(after), _as_it_is)
    await launcher.start([RunPlan(run_id=RUN, command=("x",))])
    await launcher.ended(timeout_s=30.0)
    following.add(_run(), EndlessSource(), "loss")
    following.end([RUN])
    async with asyncio.timeout(30.0):
        ended = await ends.get()
    await following.close()
    assert ended.phase is RunPhase.FINISHED
    assert ended.message == "its metrics could not be stored in 60 s"


async def _as_it_is(run: Run) -> Run:
    return run


def _never(_run_id: str, _plan: RunPlan) -> Script:
    raise AssertionError("nothing is started")


def _run() -> Run:
    return Run(
        id=RUN,
        uid=UID,
        index=0,
        attempt=1,
        version=1,
        namespace="team",
        experiment="tune",
        trial="tune-a",
        phase=RunPhase.RUNNING,
        host="here",
        boot_id="boot",
        created_at=900.0,
    )
