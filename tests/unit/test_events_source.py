"""Event files into a spool: what is wanted of them, once, whoever reads."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import EVENT_BLOCK_BYTES
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, MetricsPath, PathKind
from trialbus.ports.launcher import Launcher, RunPlan, RunStatus
from trialbus.testkit.memory_launcher import MemoryWorld, Script
from trialbus_trial_launcher.app.sources.event_scalars import scalars_of
from trialbus_trial_launcher.app.sources.events import EventsSource
from trialbus_trial_launcher.app.sources.source import Watched
from trialbus_trial_launcher.core.event_records import masked_crc

RUN = "5f0c.0.1"
FOLDER = "var/log/events"
PATH = MetricsPath(path=f"/{FOLDER}", kind=PathKind.DIRECTORY)
FILE = f"{FOLDER}/run/events.out.tfevents.1.host"
# (after the start, path, bytes) as a script of the memory world has it.
Files = Sequence[tuple[float, str, bytes]]


class Clock:
    def __init__(self) -> None:
        self.time = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def started(clock: Clock, *files: tuple[float, str, bytes]) -> MemoryWorld:
    world = MemoryWorld(
        lambda _id, _plan: Script(files=files, duration_s=None), now=lambda: clock.time
    )
    await world.launcher().start([RunPlan(run_id=RUN, command=("x",))])
    return world


def source(launcher: Launcher, *metrics: str) -> EventsSource:
    wanted = metrics or ("loss",)
    objective = Objective(
        type=ObjectiveType.MINIMIZE, metric=wanted[0], additional=tuple(wanted[1:])
    )
    collector = MetricsCollectorSpec(kind=CollectorKind.TENSORFLOW_EVENT, path=PATH)
    watched = Watched(launcher=launcher, run_id=RUN, objective=objective, collector=collector)
    return EventsSource(watched, PATH, scalars_of)


async def points(source: EventsSource) -> list[tuple[str, float, float]]:
    """(metric, value, time) of the whole stream."""
    reader = source.reader(0)
    found = reader.feed(await source.read(0, 10**7), -1.0)
    return [point[:3] for point in found]


async def finish(source: EventsSource) -> list[tuple[str, float, float]]:
    length = await source.finish(RunStatus(run_id=RUN, state="finished"))  # type: ignore[arg-type]
    assert len(await source.read(0, 10**7)) == length
    return await points(source)


def events(folder: Path, *scalars: tuple[str, float]) -> bytes:
    """A real file, with the times 0, 1, ..."""
    writer = SummaryWriter(str(folder))
    for step, (tag, value) in enumerate(scalars):
        writer.add_scalar(tag, value, step, walltime=float(step))
    writer.close()
    (path,) = folder.iterdir()
    return path.read_bytes()


def framed(size: int) -> bytes:
    """A record that holds no event."""
    length = struct.pack("<Q", size)
    data = b"\xff" * size
    checksum = struct.pack("<I", masked_crc(data)) if size < 10**5 else b"1234"
    return length + struct.pack("<I", masked_crc(length)) + data + checksum


async def test_what_is_new_is_added_and_what_is_cut_off_waits(clock: Clock, tmp_path: Path) -> None:
    data = events(tmp_path, ("loss", 0.5), ("other", 1.0), ("loss", 0.25))
    cut = len(data) - 5
    world = await started(clock, (0.0, FILE, data[:cut]), (1.0, FILE, data[cut:]))
    one = source(world.launcher())
    for _ in range(2):
        await one.gather()
        assert await points(one) == [("loss", 0.5, 0.0)]
    clock.time = 1.0
    await one.gather()
    assert await points(one) == [("loss", 0.5, 0.0), ("loss", 0.25, 2.0)]


async def test_another_launcher_goes_on_where_the_spool_ends(clock: Clock, tmp_path: Path) -> None:
    data = events(tmp_path, *(("loss", float(n)) for n in range(10)))
    half = len(data) // 2
    world = await started(clock, (0.0, FILE, data[:half]), (1.0, FILE, data[half:]))
    await source(world.launcher()).gather()
    clock.time = 1.0
    second = source(world.launcher())
    await second.gather()
    third = source(world.launcher())
    assert await finish(third) == [("loss", float(n), float(n)) for n in range(10)]
    # The second one did not see what the third has done, and notices when it matters.
    assert await finish(second) == await points(third)


async def test_who_was_overtaken_adds_nothing(clock: Clock, tmp_path: Path) -> None:
    data = events(tmp_path, ("loss", 0.5), ("loss", 0.25))
    half = len(data) - 20
    world = await started(clock, (0.0, FILE, data[:half]), (1.0, FILE, data[half:]))
    slow, fast = source(world.launcher()), source(world.launcher())
    await slow.gather()
    clock.time = 1.0
    await fast.gather()
    with pytest.raises(Transient, match="another launcher follows this run"):
        await slow.gather()
    await slow.gather()
    assert await points(slow) == [("loss", 0.5, 0.0), ("loss", 0.25, 1.0)]


async def test_longer_tags_count_at_the_end_where_there_is_no_other_and_once(
    clock: Clock, tmp_path: Path
) -> None:
    scalars = [("loss_2", 7.0), ("loss_1", 0.5), ("acc_1", 0.1), ("loss_1", 0.25), ("acc", 0.2)]
    world = await started(clock, (0.0, FILE, events(tmp_path, *scalars)))
    one = source(world.launcher(), "loss", "acc")
    await one.gather()
    assert await points(one) == [("acc", 0.2, 4.0)]
    expected = [("acc", 0.2, 4.0), ("loss", 0.5, 1.0), ("loss", 0.25, 3.0)]
    assert await finish(one) == expected
    assert await finish(one) == expected
    assert await finish(source(world.launcher(), "loss", "acc")) == expected


async def test_a_broken_file_does_not_hide_others_and_is_told(clock: Clock, tmp_path: Path) -> None:
    data = events(tmp_path, ("loss", 0.5))
    other = f"{FOLDER}/a/tfevents.2"
    world = await started(
        clock, (0.0, other, b"\x01" * 50), (0.0, FILE, data), (0.0, f"{FOLDER}/x.txt", b"loss=1")
    )
    one = source(world.launcher())
    assert await finish(one) == [("loss", 0.5, 0.0)]
    assert (await one.looked()).endswith("; a/tfevents.2 is broken at byte 0")


@pytest.mark.parametrize("size", [EVENT_BLOCK_BYTES - 5, 3 * EVENT_BLOCK_BYTES, 17 * 1024 * 1024])
async def test_long_records_are_read_or_passed_over(
    clock: Clock, tmp_path: Path, size: int
) -> None:
    data = events(tmp_path, ("loss", 0.5))
    world = await started(clock, (0.0, FILE, data + framed(size) + data))
    one = source(world.launcher())
    assert await finish(one) == [("loss", 0.5, 0.0)] * 2


async def test_a_spool_of_nonsense_breaks_nothing(clock: Clock, tmp_path: Path) -> None:
    data = events(tmp_path, ("loss", 0.5))
    world = await started(clock, (0.0, FILE, data))
    launcher = world.launcher()
    nonsense = b'x\n{"points": [1, ["loss"], ["loss", "x"]], "longer": 3, "file": 5}\n[]\n'
    assert await launcher.keep(RUN, "spool.jsonl", 0, nonsense)
    assert await finish(source(launcher)) == [("loss", 0.5, 0.0)]
