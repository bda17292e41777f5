"""What a trial's own code pushes: the trial is found by its name, and its run's chain grows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trialbus.kernel.errors import NotNow, NotThere, Problem, Refused, TooLarge, Transient
from trialbus.kernel.ids import RunKey, trial_index
from trialbus.kernel.limits import (
    MAX_CHUNK_POINTS,
    MAX_CHUNK_TEXT_CHARS,
    MAX_METRIC_NAME_CHARS,
    MAX_PROBLEMS,
    MAX_RUN_METRICS,
    PUSH_DEADLINE_S,
)
from trialbus.kernel.timestamps import epoch_seconds
from trialbus.runtime.named_trials import NamedTrial, NamedTrials
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.appending import Appending, has_ended
from trialbus_metrics_collector.app.counting import Counting, reason_of
from trialbus_metrics_collector.core.chain import Push, ReportedPoints

_RETRY_DELAY_S = 0.2
_TIME_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of one metric. at: seconds since the epoch; None: now. text: of a value that is no
    number, which is NaN then; "" of a number."""

    metric: str
    value: float
    at: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """Whom a push is for. namespace and experiment: if given, the trial must be theirs. attempt:
    which one; None: the newest. uid: of the experiment, if the sender knows it.
    """

    trial: str
    namespace: str | None = None
    experiment: str | None = None
    attempt: int | None = None
    uid: str | None = None

    @property
    def run(self) -> RunKey | None:
        """Known without a look, if uid, experiment and attempt are given. Raises NotThere."""
        if self.uid is None or self.experiment is None or self.attempt is None:
            return None
        index = trial_index(self.experiment, self.uid, self.trial)
        if index is None:
            raise NotThere(f"{self.experiment} has no trial {self.trial!r}")
        return RunKey(self.uid, index, self.attempt)


@dataclass(slots=True)
class _Taken:
    """Points of one push that are stored, now or before."""

    points: int = 0


class Pushes:
    """Answered means stored. Raises NotThere: no such trial. NotNow: its run has ended, or another
    attempt runs. Refused: a point is wrong, then none is stored. TooLarge: more metrics than a run
    may have. Transient: the store is away; whether the points are stored is not known then."""

    def __init__(self, parts: Parts, appending: Appending) -> None:
        self._parts = parts
        self._appending = appending
        self._trials = NamedTrials(parts.store)
        self.counting = Counting(parts)

    async def push(
        self, addressed: Addressed, points: Sequence[Point], *, push_id: str | None = None
    ) -> None:
        """push_id: a repeat under it has no effect, if it is for the same attempt."""
        taken = _Taken()
        try:
            await self._push(addressed, points, push_id, taken)
        except (Refused, NotThere, TooLarge) as error:
            self.counting.refused(reason_of(error), len(points) - taken.points)
            raise

    async def _push(
        self,
        addressed: Addressed,
        points: Sequence[Point],
        push_id: str | None,
        taken: _Taken,
    ) -> None:
        _check(points)
        trial = addressed.run or await self._find(addressed)
        run = trial if isinstance(trial, RunKey) else trial.run
        now = self._parts.clock.now()
        own = push_id or (self._parts.ids.new_id() if points else "")
        pieces = [
            Push(
                key=f"{run}#{own}/{number}",
                series=_series(piece, now),
            )
            for number, piece in enumerate(_pieces(points))
        ]
        try:
            if isinstance(trial, NamedTrial):
                _fence(trial, addressed)
            for piece in pieces:
                await self._patiently(addressed.trial, run, piece)
                taken.points += piece.count
        except NotNow:
            # A repeat may come after the run has ended: what is stored is stored.
            if not pieces or not await self._appending.has(pieces[-1].key):
                raise
            self.counting.repeated(len(points) - taken.points)

    async def _find(self, addressed: Addressed) -> NamedTrial:
        trial = await self._trials.find(addressed.trial)
        wanted = (addressed.namespace, addressed.experiment)
        if any(
            want not in (None, has)
            for want, has in zip(wanted, (trial.namespace, trial.experiment), strict=True)
        ):
            raise NotThere(f"{'/'.join(map(str, wanted))} has no trial {trial.name!r}")
        return trial

    async def _patiently(self, trial: str, run: RunKey, piece: Push) -> None:
        """A commit whose result is unknown is repeated: the key lets the push in once."""
        began = self._parts.clock.monotonic()
        while True:
            try:
                return await self._appending.append(trial, run, piece)
            except Transient:
                if self._parts.clock.monotonic() - began > PUSH_DEADLINE_S:
                    raise
            await self._parts.clock.sleep(_RETRY_DELAY_S)


def _fence(trial: NamedTrial, addressed: Addressed) -> None:
    if trial.ended:
        raise has_ended(trial.name)
    if addressed.attempt not in (None, trial.attempt):
        why = f"it is at attempt {trial.attempt}, not {addressed.attempt}"
        raise NotNow([Problem(field=trial.name, message=why)])


def _pieces(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """In order, each as much as one chunk holds."""
    start = chars = 0
    for place, point in enumerate(points):
        chars += len(point.text)
        if place - start == MAX_CHUNK_POINTS or (chars > MAX_CHUNK_TEXT_CHARS and place > start):
            yield points[start:place]
            start, chars = place, len(point.text)
    if points:
        yield points[start:]


def _check(points: Sequence[Point]) -> None:
    """Raises Refused with every problem, TooLarge."""
    if len({point.metric for point in points}) > MAX_RUN_METRICS:
        raise TooLarge(f"a run has at most {MAX_RUN_METRICS} metrics")
    problems = [
        Problem(field=f"points[{number}]", message=message)
        for number, point in enumerate(points)
        if (message := _problem(point)) is not None
    ]
    if problems:
        raise Refused(problems[:MAX_PROBLEMS])


def _problem(point: Point) -> str | None:
    if not 0 < len(point.metric) <= MAX_METRIC_NAME_CHARS:
        return f"a metric's name has 1 to {MAX_METRIC_NAME_CHARS} characters"
    if "\0" in point.metric:
        return "a metric's name holds no NUL"
    if point.at is not None and epoch_seconds(point.at) is None:
        return "a time is in seconds since 1970, in a year from 1 to 9999"
    return None


def _series(points: Sequence[Point], now: float) -> tuple[ReportedPoints, ...]:
    by_metric: dict[str, list[Point]] = {}
    for point in points:
        by_metric.setdefault(point.metric, []).append(point)
    return tuple(
        ReportedPoints(
            metric=metric,
            values=tuple(point.value for point in own),
            times=tuple(
                round(now if point.at is None else point.at, _TIME_DIGITS) for point in own
            ),
            texts=tuple(point.text for point in own) if any(it.text for it in own) else (),
        )
        for metric, own in by_metric.items()
    )
