"""What a launcher says to the metrics collector, and what it hears: one chunk, one answer."""

from trialbus.contracts.envelope import Body


class ReportedSeries(Body):
    """Points of one metric, in the order of their lines."""

    metric: str
    values: tuple[float, ...]
    times: tuple[float, ...]


class ChunkReport(Body):
    """The points of a run's output from `from_byte` up to `to_byte`."""

    run: str
    from_byte: int
    to_byte: int
    series: tuple[ReportedSeries, ...] = ()
    final: bool = False


class ChunkReply(Body):
    """stored_to: the chain is stored up to this byte; the sender goes on from there.

    final: the chain is complete. refused: nothing of this run is wanted any more (an older
    attempt, a closed trial, a deleted experiment); the sender stops.
    """

    stored_to: int = 0
    final: bool = False
    refused: str | None = None
