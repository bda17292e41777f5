"""What launchers and trials say to the metrics collector, and what they hear: one report, one
answer."""

from trialbus.contracts.envelope import Body


class ReportedSeries(Body):
    """Points of one metric, in the order of their lines. texts: None where all are numbers; else
    one per value, "" of numbers; the value of a text is NaN."""

    metric: str
    values: tuple[float, ...]
    times: tuple[float, ...]
    texts: tuple[str, ...] | None = None


class ChunkReport(Body):
    """The points of a run's output from `from_byte` up to `to_byte`, in bytes of that output."""

    run: str
    from_byte: int
    to_byte: int
    series: tuple[ReportedSeries, ...] = ()
    final: bool = False


class ChunkReply(Body):
    """stored_to: the output is stored up to this byte; the sender goes on from there.

    final: the chain is complete. refused: nothing of this run is wanted any more (an older
    attempt, a closed trial, a deleted experiment); the sender stops.
    """

    stored_to: int = 0
    final: bool = False
    refused: str | None = None


class PushedPoint(Body):
    """at: seconds since the epoch; None: when the collector hears of it."""

    metric: str
    value: float
    at: float | None = None


class PushReport(Body):
    """Metrics of a running trial, told by whoever knows its name.

    id: of this push, made by its sender; the same id of one attempt is taken once. attempt: which
    one is meant; None: the newest. uid: of the experiment, by a sender that knows it: the trial
    need not have its document yet then.
    """

    points: tuple[PushedPoint, ...]
    id: str | None = None
    attempt: int | None = None
    uid: str | None = None


class PushReply(Body):
    """accepted: every point is stored. Else `refused` says why they never will be; None: the store
    is away and nobody knows, the sender repeats (under the same id, so that nothing doubles)."""

    accepted: bool
    refused: str | None = None
