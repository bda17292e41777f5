"""What the launcher follows of a run: one stream of lines, whatever its collector's kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trialbus.kernel.limits import MAX_NAMES_SEEN
from trialbus.kernel.line_streams import LineReader, Point
from trialbus.kernel.objective import Objective
from trialbus.kernel.spec import MetricsCollectorSpec
from trialbus.ports.launcher import Launcher, RunStatus


class Source(Protocol):
    """A stream that only grows, so that an offset in it is a place to go on from. is_live: there is
    something to gather or to read while the run goes on. missing: why not all of it could be read,
    known at its end."""

    @property
    def is_live(self) -> bool: ...

    @property
    def missing(self) -> str: ...

    def reader(self, start: int) -> LineReader:
        """Finds the points in the stream's bytes from there on."""

    async def gather(self) -> None:
        """Bring what is new into the stream; called again and again. Raises Transient."""

    async def finish(self, status: RunStatus, /) -> int:
        """The run has ended: bring the rest; returns the stream's length. Raises Transient."""

    async def abandon(self) -> None:
        """The run is lost, or no longer of interest: end what goes with it."""

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        """b"" at the end, for now or for ever."""

    async def looked(self) -> str:
        """For people who miss the objective: where it was looked for, and what was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A run, and what its experiment wants of it."""

    launcher: Launcher
    run_id: str
    objective: Objective
    collector: MetricsCollectorSpec

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.objective.metric_names

    @property
    def metric(self) -> str:
        return self.objective.metric


class NoLines(LineReader):
    """Of a stream without any."""

    __slots__ = ()

    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        """There is nothing to find."""


def told(names: Sequence[str], wanted: Sequence[str]) -> str:
    """Some names beside those that were wanted, as the end of a sentence; "" without any."""
    others = [name for name in names if name not in wanted]
    if not others:
        return ""
    more = ", ..." if len(others) > MAX_NAMES_SEEN else ""
    return f"; found {', '.join(repr(name) for name in others[:MAX_NAMES_SEEN])}{more}"
