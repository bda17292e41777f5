"""Katib's DBManager over this service's own pushes and logs."""

import asyncio
import math
import re
from typing import Any

import grpc
from google.protobuf.message import Message

from trialbus.adapters.grpc import call_id, handlers_of
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.contracts.katib.times import parse_rfc3339_ns, rfc3339_us
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_PROBLEMS
from trialbus.kernel.measurements import format_value
from trialbus.kernel.metric_texts import metric_text
from trialbus_metrics_collector.app.observation_logs import ObservationLogs, Row, Wanted
from trialbus_metrics_collector.app.pushes import Addressed, Point, Pushes

# What Katib's collectors report where they found nothing: it is no value, and no fault.
_NO_VALUES = frozenset({"", "unavailable"})
# Go's zero time: Katib's collectors have it for lines without a time.
_NO_TIMES = frozenset({"", "0001-01-01T00:00:00Z"})
_NUMBER = re.compile(
    r"[+-]?(\d++\.?\d*+([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
)
# Of a long log: others are served in between.
_ROWS_AT_A_TIME = 1000
_ROWS = "observation_log.metric_logs"


class DBManager:
    def __init__(self, pushes: Pushes, logs: ObservationLogs) -> None:
        self._pushes = pushes
        self._logs = logs

    def handlers(self) -> grpc.GenericRpcHandler:
        return handlers_of(
            "DBManager",
            {
                "ReportObservationLog": self._report,
                "GetObservationLog": self._get,
                "DeleteObservationLog": self._delete,
            },
        )

    async def _report(self, request: Any) -> Message:
        try:
            points = await _points(request.observation_log)
        except Refused:
            # What is well is not taken, either; the others' points count themselves.
            self._pushes.counting.refused("invalid", len(request.observation_log.metric_logs))
            raise
        await self._pushes.push(Addressed(trial=request.trial_name), points, push_id=call_id())
        return api_pb2.ReportObservationLogReply()

    async def _get(self, request: Any) -> Message:
        problems: list[Problem] = []
        from_ns = _bound("start_time", request.start_time, problems)
        to_ns = _bound("end_time", request.end_time, problems)
        if problems:
            raise Refused(problems)
        wanted = Wanted(
            metric=request.metric_name or None,
            # Rows have whole microseconds: the first and the last one within the bounds.
            from_us=None if from_ns is None else -(-from_ns // 1000),
            to_us=None if to_ns is None else to_ns // 1000,
        )
        rows = await self._logs.read(request.trial_name, wanted)
        reply = api_pb2.GetObservationLogReply()
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            logs = map(_metric_log, rows[start : start + _ROWS_AT_A_TIME])
            reply.observation_log.metric_logs.extend(logs)
            await asyncio.sleep(0)
        return reply

    async def _delete(self, request: Any) -> Message:
        await self._logs.delete(request.trial_name)
        return api_pb2.DeleteObservationLogReply()


async def _points(log: Any) -> list[Point]:
    """Values may be texts, as in Katib. Raises Refused with every row that has a wrong value or
    time."""
    problems: list[Problem] = []
    points = []
    for number, row in enumerate(log.metric_logs):
        if number % _ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        if len(problems) >= MAX_PROBLEMS:
            break
        written = row.metric.value.strip()
        if written in _NO_VALUES:
            continue
        is_number = _NUMBER.fullmatch(written) is not None
        text = "" if is_number else metric_text(written)
        if not (is_number or text):
            field = f"{_ROWS}[{number}].metric.value"
            problems.append(Problem(field=field, message=f"not a number: {written[:80]!r}"))
            continue
        at = _time(f"{_ROWS}[{number}].time_stamp", row.time_stamp, problems)
        value = float(written) if is_number else math.nan
        points.append(Point(metric=row.metric.name, value=value, at=at, text=text))
    if problems:
        raise Refused(problems)
    return points


def _time(field: str, text: str, problems: list[Problem]) -> float | None:
    at_ns = None if text in _NO_TIMES else _bound(field, text, problems)
    return None if at_ns is None else at_ns / 1e9


def _bound(field: str, text: str, problems: list[Problem]) -> int | None:
    """Nanoseconds; None without one."""
    if not text:
        return None
    try:
        return parse_rfc3339_ns(text)
    except ValueError as error:
        problems.append(Problem(field=field, message=str(error)))
        return None


def _metric_log(row: Row) -> api_pb2.MetricLog:
    return api_pb2.MetricLog(
        time_stamp=rfc3339_us(row.at_us),
        metric=api_pb2.Metric(name=row.metric, value=row.text or format_value(row.value)),
    )
