"""Runs that this process follows: their metrics are shipped while they run and when they end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.limits import (
    LOG_TAIL_BYTES,
    MAX_MESSAGE_CHARS,
    OBSERVATION_DEADLINE_S,
    READ_BLOCK_BYTES,
    REQUEST_TIMEOUT_S,
    TAIL_INTERVAL_S,
    TRACED_CHUNKS,
)
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.ports.bus import Request
from trialbus.ports.launcher import Launcher, RunState, RunStatus
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.run_spans import within_run
from trialbus_trial_launcher.app.sources.source import Source
from trialbus_trial_launcher.app.tail import StreamTail

_RETRY_DELAY_S = 0.2
_ENDED_WAIT_S = 5.0
# Taking up what `ended()` missed costs one look at each run.
_SURVEY_INTERVAL_S = 2.0


@dataclass(slots=True)
class Followed:
    """One live run. run: as committed. objective: the metric that must not miss. stop_asked: the
    reason that was passed on. refused: the collector wants nothing more of it. complete: the
    collector has all of it. recorded: its end waits for its commit. unsendable: why its metrics
    cannot travel. sent: chunks, each as often as it was sent."""

    run: Run
    source: Source
    objective: str
    tail: StreamTail
    stop_asked: str = ""
    refused: bool = False
    unsendable: str = ""
    complete: bool = False
    recorded: bool = False
    sent: int = 0
    shipping: asyncio.Lock = field(default_factory=asyncio.Lock)


def _ignore(_run_id: str) -> None:
    """Nobody wants to know."""


class Following:
    """Ships metric chunks, sees ends, hands ended runs to `record`. judge: adds what the conditions
    of its template say of an ended run. note: commits what runs wait for. incomplete: hears of runs
    whose metrics could not all be stored."""

    def __init__(
        self,
        parts: Parts,
        launcher: Launcher,
        record: Callable[[Run, Run], None],
        judge: Callable[[Run], Awaitable[Run]],
        note: Callable[[Sequence[tuple[Run, str]]], Awaitable[Mapping[str, Run]]] | None = None,
        *,
        incomplete: Callable[[str], None] = _ignore,
    ) -> None:
        self._parts = parts
        self._launcher = launcher
        self._record = record
        self._judge = judge
        self._note = note
        self._incomplete = incomplete
        self._runs: dict[str, Followed] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._shipping: dict[str, asyncio.Task[None]] = {}
        self._early: set[str] = set()

    def ids(self, uid: str) -> frozenset[str]:
        """Followed runs of one experiment."""
        return frozenset(key for key, run in self._runs.items() if run.run.uid == uid)

    def add(self, run: Run, source: Source, objective: str) -> None:
        """Follow a run that has been started; it may be over by now."""
        if run.id not in self._runs:
            tail = StreamTail(run.id, source.reader)
            self._runs[run.id] = Followed(run=run, source=source, objective=objective, tail=tail)
        if run.id in self._early:
            self._early.discard(run.id)
            self.end([run.id])

    def record(self, before: Run, after: Run) -> None:
        """The end of a run that was never followed."""
        self._record(before, after)

    def forget(self, run_id: str) -> None:
        """Its end is committed."""
        self._runs.pop(run_id, None)

    async def stop(self, run_id: str, reason: str) -> None:
        followed = self._runs.get(run_id)
        if followed is None or followed.stop_asked == reason:
            return
        await self._launcher.stop(run_id, reason=reason, grace_s=self._parts.settings.kill_grace_s)
        followed.stop_asked = reason
        if run_id in self._ending and reason != StopReason.EARLY_STOPPED.value:
            # Its command is over, but what goes with it may take its time.
            await followed.source.abandon()

    async def watch_ends(self) -> None:
        """For ever: end runs as soon as the launcher says so."""
        while True:
            try:
                self.end(await self._launcher.ended(timeout_s=_ENDED_WAIT_S))
            except OSError as error:
                await self._after(error)

    async def survey(self) -> None:
        """For ever: find ends that were missed, and let the launcher enforce its limits."""
        while True:
            self._early.clear()
            await self._parts.clock.sleep(_SURVEY_INTERVAL_S)
            running = self._live()
            if not running:
                continue
            try:
                status = await self._launcher.status(running)
            except OSError as error:
                await self._after(error)
                continue
            self.end([key for key, it in status.items() if it.state is not RunState.RUNNING])
            await self._tell_waits(status)

    async def _tell_waits(self, status: Mapping[str, RunStatus]) -> None:
        """What a run waits for, to its document, when it changes."""
        changed = [
            (followed.run, it.waiting)
            for key, it in status.items()
            if it.state is RunState.RUNNING
            and (followed := self._runs.get(key)) is not None
            and followed.run.message != it.waiting
        ]
        if not changed or self._note is None:
            return
        try:
            for key, run in (await self._note(changed)).items():
                if (followed := self._runs.get(key)) is not None and not followed.recorded:
                    followed.run = run
        except Transient as error:
            self._parts.telemetry.log.debug("waits are not told yet", error=str(error))

    async def _after(self, error: OSError) -> None:
        """The machine is short of something (descriptors, disk): go on when it may be over."""
        self._parts.telemetry.log.error("cannot look at runs", error=str(error))
        await self._parts.clock.sleep(_SURVEY_INTERVAL_S)

    def end(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            followed = self._runs.get(run_id)
            if followed is None:
                self._early.add(run_id)
            elif run_id not in self._ending and not followed.recorded:
                self._ending[run_id] = self._spawn_end(followed)

    def _spawn_end(self, followed: Followed) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._end(followed))
        task.add_done_callback(self._report)
        return task

    def _report(self, task: asyncio.Task[None]) -> None:
        """What went wrong with one run stays with it; it is looked at again, and never silent."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._parts.telemetry.log.error(
                "following a run failed", error=f"{type(error).__name__}: {error}"
            )

    async def ship_live(self) -> None:
        """For ever: send what running trials have reported since the last look. A run whose
        answer is late keeps nobody else waiting."""
        while True:
            await self._parts.clock.sleep(TAIL_INTERVAL_S)
            for key in self._live():
                if key not in self._shipping and self._runs[key].source.is_live:
                    task = asyncio.ensure_future(self._ship_once(self._runs[key]))
                    self._shipping[key] = task
                    task.add_done_callback(self._report)

    def _live(self) -> list[str]:
        return [
            key for key, it in self._runs.items() if key not in self._ending and not it.recorded
        ]

    async def _ship_once(self, followed: Followed) -> None:
        try:
            async with followed.shipping:
                if followed.refused:
                    return
                await followed.source.gather()
                # First what waits: reading on while nobody answers would pile it up.
                await self._send_all(followed)
                await self._read_more(followed)
                await self._send_all(followed)
        except Transient as error:
            self._parts.telemetry.log.debug("chunk waits", run=followed.run.id, error=str(error))
        finally:
            self._shipping.pop(followed.run.id, None)

    async def _read_more(self, followed: Followed) -> bool:
        data = await followed.source.read(followed.tail.read_to, READ_BLOCK_BYTES)
        if data:
            followed.tail.feed(data, self._parts.clock.now())
        return bool(data)

    async def _send_all(self, followed: Followed) -> None:
        """Raises Transient."""
        while await self._send_next(followed):
            pass

    async def _send_next(self, followed: Followed) -> bool:
        """Send one chunk; whether there is more to say. Raises Transient."""
        report = followed.tail.next_report()
        if report is None or followed.refused:
            return False
        run = followed.run
        try:
            data = report.to_bytes()
        except Poison as poison:
            followed.refused, followed.unsendable = True, f"its metrics cannot be sent: {poison}"
            return False
        request = Request(
            subject=subjects.metric(run.namespace, run.experiment, run.trial), data=data
        )
        answer = await self._ask(followed, request)
        reply = ChunkReply.from_bytes(answer)
        if reply.refused is not None:
            followed.refused = True
            self._parts.telemetry.add(metrics.STALE)
            return False
        followed.tail.resume_at(reply.stored_to)
        followed.complete = reply.final
        if not reply.final and reply.stored_to == report.from_byte:
            raise Transient("the collector took nothing")
        return not reply.final

    async def _ask(self, followed: Followed, request: Request) -> bytes:
        """Of a run that goes on and on only the first chunks are in its trace."""
        bus, tracing = self._parts.bus, self._parts.telemetry.tracing
        followed.sent += 1
        if followed.sent > TRACED_CHUNKS or not tracing.on or tracing.current() is not None:
            return await bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        with within_run(tracing, followed.run, "ship metrics"):
            return await bus.request(request, timeout_s=REQUEST_TIMEOUT_S)

    async def _end(self, followed: Followed) -> None:
        """Ship the rest, then record the end: a finished run has all its metrics stored."""
        with within_run(self._parts.telemetry.tracing, followed.run, "end run"):
            await self._end_it(followed)

    async def _end_it(self, followed: Followed) -> None:
        try:
            run_id = followed.run.id
            status = (await self._launcher.status([run_id]))[run_id]
            if status.state is RunState.RUNNING:
                return
            unstored = looked = ""
            if status.state is RunState.FINISHED:
                unstored = await self._ship_rest(followed, status)
                if unstored:
                    self._incomplete(run_id)
                if followed.source.missing:
                    # Then it may be lost after all.
                    status = (await self._launcher.status([run_id]))[run_id]
                looked = await self._looked(followed, status)
            else:
                await followed.source.abandon()
            ended = await self._ended(followed.run, status, unstored)
            after = await self._judge(replace(ended, looked=looked))
            followed.recorded = True
            self._record(followed.run, after)
        finally:
            self._ending.pop(followed.run.id, None)

    async def _ship_rest(self, followed: Followed, status: RunStatus) -> str:
        """Block by block, so that a long stream needs little memory. Returns why not all of it
        could be stored, "" if it was. The deadline counts from the last progress."""
        async with followed.shipping:
            progress_at = self._parts.clock.monotonic()
            length = None
            while not (followed.complete or followed.refused):
                before = followed.tail.stored_to
                try:
                    if length is None:
                        length = await followed.source.finish(status)
                        progress_at = self._parts.clock.monotonic()
                    await self._ship_block(followed, length)
                # OSError: what the machine is short of may come back, and then nothing is lost.
                except (Transient, OSError) as error:
                    self._parts.telemetry.log.debug("end waits", error=str(error))
                now = self._parts.clock.monotonic()
                if followed.tail.stored_to != before:
                    progress_at = now
                elif now - progress_at > OBSERVATION_DEADLINE_S:
                    return f"its metrics could not be stored in {OBSERVATION_DEADLINE_S:g} s"
                elif not (followed.complete or followed.refused):
                    await self._parts.clock.sleep(_RETRY_DELAY_S)
        return followed.unsendable or followed.source.missing

    async def _ship_block(self, followed: Followed, length: int) -> None:
        """Read one block of an ended run's stream and send what it holds; the last one makes the
        final chunk, so a short output is one chunk."""
        await self._send_all(followed)
        while not (followed.complete or followed.refused):
            more = await self._read_more(followed)
            if not more or followed.tail.read_to >= length:
                followed.tail.end(self._parts.clock.now())
            await self._send_all(followed)

    async def _looked(self, followed: Followed, status: RunStatus) -> str:
        """Told where the objective may be missed: this process saw none."""
        if status.stop_reason or followed.objective in followed.tail.metrics:
            return ""
        return (await followed.source.looked())[:MAX_MESSAGE_CHARS]

    async def _ended(self, run: Run, status: RunStatus, unstored: str) -> Run:
        tail = await self._launcher.tail(run.id, LOG_TAIL_BYTES)
        lost = status.state in (RunState.LOST, RunState.ABSENT)
        message = status.message
        if lost and not message:
            message = "its processes ended without leaving a result"
        if unstored:
            message = f"{unstored}; {message}" if message else unstored
        return replace(
            run,
            version=run.version + 1,
            phase=RunPhase.LOST if lost else RunPhase.FINISHED,
            started_at=status.started_at or run.started_at,
            finished_at=status.finished_at or self._parts.clock.now(),
            exit_code=status.exit_code,
            signal=status.signal,
            stop_reason=status.stop_reason,
            message=message[:MAX_MESSAGE_CHARS],
            log_tail=tail.decode(errors="replace"),
            output_bytes=status.output_bytes,
            verdict=status.verdict,
            job_reason=status.job_reason,
            job_message=status.job_message,
        )

    async def close(self) -> None:
        tasks = [*self._ending.values(), *self._shipping.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
