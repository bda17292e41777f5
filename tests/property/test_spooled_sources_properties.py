"""Whatever dies whenever: of event files and endpoints each point is spooled once, in order."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import masked_crc32c

from trialbus.kernel.errors import Transient
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsEndpoint,
    MetricsPath,
    PathKind,
)
from trialbus.ports.launcher import PrivateFile, RunState, RunStatus
from trialbus.testkit.memory_launcher import HANG, MemoryLauncher, MemoryWorld
from trialbus.testkit.still_world import StillClock
from trialbus_trial_launcher.app.sources.event_scalars import scalars_of
from trialbus_trial_launcher.app.sources.events import EventsSource
from trialbus_trial_launcher.app.sources.scraping import ScrapeSource
from trialbus_trial_launcher.app.sources.source import Source, Watched

PATH = MetricsPath(path="/logs", kind=PathKind.DIRECTORY)
OBJECTIVE = Objective(type=ObjectiveType.MINIMIZE, metric="loss", additional=("acc",))
OVER = RunStatus(run_id="r", state=RunState.FINISHED)


class DiedError(Exception):
    """The launcher's process, at a call into the place where runs execute."""


class MortalFiles(MemoryLauncher):
    """Has files of its own. Dies before or after `keep` as `fates` say: by turns, for ever."""

    def __init__(self, fates: Sequence[str]) -> None:
        super().__init__(MemoryWorld(lambda _id, _plan: HANG))
        self.files: dict[str, bytes] = {}
        self.spool = b""
        self._fates = list(fates)

    async def private_files(self, run_id: str, folder: str) -> list[PrivateFile]:
        return [PrivateFile(path=path, size_bytes=len(data)) for path, data in self.files.items()]

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        return self.files[path.removeprefix("logs/")][from_byte : from_byte + max_bytes]

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        return self.spool[from_byte : from_byte + max_bytes]

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        fate = self._fates.pop(0) if self._fates else ""
        if fate == "before":
            raise DiedError
        kept = at_byte == len(self.spool)
        self.spool += data if kept else b""
        if fate == "after":
            raise DiedError
        if fate == "full":
            self.spool = self.spool[: len(self.spool) - len(data)]
            raise OSError(28, "No space left on device")
        return kept


def record(tag: str, value: float, at: float) -> bytes:
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
    data: bytes = event_pb2.Event(wall_time=at, summary=summary).SerializeToString()
    length = len(data).to_bytes(8, "little")
    checksums = [int(masked_crc32c(part)).to_bytes(4, "little") for part in (length, data)]
    return length + checksums[0] + data + checksums[1]


def watched(launcher: MortalFiles, kind: CollectorKind) -> Watched:
    return Watched(
        launcher=launcher,
        run_id="r",
        objective=OBJECTIVE,
        collector=MetricsCollectorSpec(kind=kind),
    )


async def points(source: Source) -> list[tuple[str, float, float]]:
    reader = source.reader(0)
    return [point[:3] for point in reader.feed(await source.read(0, 10**7), -1.0)]


FATES = st.lists(st.sampled_from(["", "before", "after", "full"]), max_size=12)
TAGS = st.sampled_from(["loss", "acc", "other", "loss_1"])
EVENTS = st.lists(st.tuples(st.sampled_from(["a/tfevents", "b/tfevents"]), TAGS), max_size=20)


@given(EVENTS, st.lists(st.integers(1, 400), min_size=1, max_size=20), FATES)
@settings(max_examples=150)
def test_each_event_is_spooled_once_whatever_dies_whenever(
    events: list[tuple[str, str]], growths: list[int], fates: list[str]
) -> None:
    whole: dict[str, bytes] = {}
    for number, (path, tag) in enumerate(events):
        whole[path] = whole.get(path, b"") + record(tag, float(number), float(number))

    async def follow() -> list[tuple[str, float, float]]:
        launcher = MortalFiles(fates)
        source = EventsSource(watched(launcher, CollectorKind.TENSORFLOW_EVENT), PATH, scalars_of)
        launcher.files = dict.fromkeys(whole, b"")
        shown = 0
        while True:
            shown += growths[shown % len(growths)]
            launcher.files = {path: data[:shown] for path, data in whole.items()}
            at_end = launcher.files == whole
            try:
                await (source.finish(OVER) if at_end else source.gather())
            except DiedError:
                kind = CollectorKind.TENSORFLOW_EVENT
                source = EventsSource(watched(launcher, kind), PATH, scalars_of)
            except Transient:
                continue
            else:
                if at_end:
                    return await points(source)

    found = asyncio.run(follow())
    tags = {tag for _, tag in events}
    name = "loss" if "loss" in tags else "loss_1"
    expected = [
        ("loss" if tag == name else tag, float(number), float(number))
        for number, (_, tag) in enumerate(events)
        if tag in (name, "acc")
    ]
    assert sorted(found, key=lambda point: point[2]) == expected
    for path in whole:
        own = {float(number) for number, (of, _) in enumerate(events) if of == path}
        for metric in ("loss", "acc"):
            times = [at for it, _, at in found if it == metric and at in own]
            assert times == sorted(times)


@given(st.lists(st.integers(0, 2), max_size=20), FATES)
@settings(max_examples=150)
def test_each_change_of_an_endpoint_is_spooled_once_whatever_dies_whenever(
    values: list[int], fates: list[str]
) -> None:
    async def follow() -> list[float]:
        launcher = MortalFiles(fates)
        clock = StillClock()
        shown = b""

        async def get(_url: str, _headers: Sequence[tuple[str, str]]) -> bytes:
            return shown

        def source() -> ScrapeSource:
            return ScrapeSource(
                watched(launcher, CollectorKind.PROMETHEUS_METRIC),
                MetricsEndpoint(port=1, path="/"),
                own_port=False,
                get=get,
                clock=clock,
                interval_s=1.0,
            )

        one = source()
        for value in values:
            shown = f"loss {value}\n".encode()
            while True:
                clock.time += 1.0
                try:
                    await one.gather()
                    break
                except DiedError:
                    one = source()
                except Transient:
                    continue
        await one.finish(OVER)
        return [value for _, value, _ in await points(one)]

    changes = [float(it) for n, it in enumerate(values) if n == 0 or values[n - 1] != it]
    assert asyncio.run(follow()) == changes
