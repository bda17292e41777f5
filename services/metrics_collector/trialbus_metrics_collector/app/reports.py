"""Requests as reports: parsed and checked, before anything is read from the store."""

from dataclasses import dataclass

from trialbus.contracts.chunks import ChunkReply, ChunkReport
from trialbus.contracts.envelope import check_size
from trialbus.kernel.errors import Poison
from trialbus.kernel.ids import RunKey, parse_run_id
from trialbus_metrics_collector.core.chain import Report, ReportedPoints, problem_of


class Unfit(Poison):
    """It can be read, but no chain can take it. points: how many it has."""

    def __init__(self, problem: str, points: int) -> None:
        self.points = points
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One report, and whose it is."""

    run: RunKey
    report: Report


def parse(data: bytes) -> RunReport:
    """Raises Poison with the reason when nobody can take it."""
    said = ChunkReport.from_bytes(check_size(data))
    try:
        run = parse_run_id(said.run)
    except ValueError as error:
        raise Poison(f"not a run id: {said.run!r}") from error
    # The id is the key of the chain, so it must be written in the one way.
    if str(run) != said.run or not run.uid:
        raise Poison(f"not a run id: {said.run!r}")
    report = Report(
        from_byte=said.from_byte,
        to_byte=said.to_byte,
        series=tuple(
            ReportedPoints(metric=it.metric, values=it.values, times=it.times, texts=it.texts or ())
            for it in said.series
        ),
        final=said.final,
    )
    problem = problem_of(report)
    if problem is not None:
        raise Unfit(f"{said.run}: {problem}", sum(len(it.values) for it in report.series))
    return RunReport(run=run, report=report)


def refused(reason: str) -> bytes:
    return ChunkReply(refused=reason).to_bytes()
