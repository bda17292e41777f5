"""Pieces of shipped streams: their points go to the metrics collector, then they are answered.

Nothing is kept between two requests: what must be remembered is the note that comes with each.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport
from trialbus.contracts.shipping import MAX_NOTE_CHARS, Output, OutputReply
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.limits import REQUEST_TIMEOUT_S, WORK_AGE_S
from trialbus.kernel.run import Run, StopReason
from trialbus.ports.bus import Request
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.work import Work
from trialbus_trial_launcher.app.run_spans import within_run
from trialbus_trial_launcher.app.shipping.attempts import Attempt, Attempts
from trialbus_trial_launcher.app.shipping.frames import FrameReader
from trialbus_trial_launcher.app.shipping.readers import reader_of
from trialbus_trial_launcher.app.tail import StreamTail
from trialbus_trial_launcher.app.verdicts import to_be_stopped
from trialbus_trial_launcher.core import shipped_notes
from trialbus_trial_launcher.core.shipped_notes import Note

# How often a silent trial asks whether to stop: a verdict reaches it within a second. Other stops
# reach the pod by its deletion as well.
_LOOK_S, _RARE_LOOK_S = 0.5, 10.0


class Receiving:
    def __init__(self, parts: Parts, attempts: Attempts) -> None:
        self._parts = parts
        self._attempts = attempts

    async def respond(self, requests: Sequence[Request]) -> list[bytes | None]:
        """One `OutputReply` for each, in order; None: the collector is away, its sender repeats.
        Raises Transient."""
        read = [_read(request) for request in requests]
        wanted = {it.run for it in read if isinstance(it, Output)}
        attempts = await self._attempts.find(wanted, experiments_age_s=WORK_AGE_S)
        judged = [
            key
            for key, it in attempts.items()
            if it.work is not None and it.work.spec.early_stopping is not None
        ]
        stopped = await to_be_stopped(self._parts.store, judged)
        replies = await asyncio.gather(
            *(
                self._take(it, attempts.get(it.run), it.run in stopped)
                if isinstance(it, Output)
                else _as_it_is(it)
                for it in read
            )
        )
        return [None if reply is None else reply.to_bytes() for reply in replies]

    async def _take(
        self, output: Output, attempt: Attempt | None, stopped: bool
    ) -> OutputReply | None:
        if attempt is None:
            return _refused(output, "there is no such attempt", known=False)
        if attempt.over or attempt.work is None:
            self._parts.telemetry.add(metrics.STALE)
            return _refused(output, attempt.over, over=True)
        note = shipped_notes.read(output.note)
        if note is None:
            return _refused(output, "the note is none of ours")
        try:
            piece = _Piece(self._parts, attempt.run, attempt.work, output, note)
            with self._span(attempt.run, output):
                reply = await piece.store()
        except Transient as error:
            self._parts.telemetry.log.debug("piece waits", run=output.run, error=str(error))
            return None
        early = StopReason.EARLY_STOPPED.value if stopped else ""
        look_s = _RARE_LOOK_S if attempt.work.spec.early_stopping is None else _LOOK_S
        return reply.model_copy(update={"stop": attempt.stop or early, "look_s": look_s})

    def _span(self, run: Run, output: Output) -> AbstractContextManager[None]:
        """Of a run that goes on and on only the first piece and the last are in its trace."""
        tracing = self._parts.telemetry.tracing
        if not tracing.on or (output.start > 0 and not output.final):
            return nullcontext()
        return within_run(tracing, run, "take output")


class _Piece:
    """One piece of a run's stream."""

    def __init__(self, parts: Parts, run: Run, work: Work, output: Output, note: Note) -> None:
        self._parts = parts
        self._run = run
        self._output = output
        self._note = replace(note, since=min(note.since, output.start))
        self._reader = reader_of(work.spec, self._note, output.start)
        self._tail = StreamTail(run.id, lambda _: self._reader)
        self._tail.stored_to = self._note.since

    async def store(self) -> OutputReply:
        """Raises Transient."""
        now = self._parts.clock.now()
        self._tail.feed(self._output.data, now)
        final = self._output.final
        again = False
        if isinstance(self._reader, FrameReader):
            if self._reader.broken:
                return _refused(self._output, "these are no frames of event records")
            self._note = self._reader.note
            again = final and not self._note.again and bool(self._note.missing)
        if final and not again:
            self._tail.end(now)
        while (report := self._tail.next_report()) is not None:
            reply = await self._hand_over(report)
            if reply.refused is not None:
                return _refused(self._output, reply.refused)
            if reply.final or not report.from_byte < reply.stored_to <= self._reader.consumed:
                # Complete already; or the stream was stored otherwise than this piece knows.
                return self._reply(reply.stored_to, reply.stored_to, final=reply.final)
            self._tail.resume_at(reply.stored_to)
        self._note = replace(self._note, again=self._note.again or again)
        return self._reply(self._reader.consumed, self._tail.stored_to, again=again)

    async def _hand_over(self, report: ChunkReport) -> ChunkReply:
        """Raises Transient."""
        try:
            data = report.to_bytes()
        except Poison as poison:
            return ChunkReply(refused=f"its metrics cannot be sent: {poison}")
        run = self._run
        subject = subjects.metric(run.namespace, run.experiment, run.trial)
        answer = await self._parts.bus.request(
            Request(subject=subject, data=data), timeout_s=REQUEST_TIMEOUT_S
        )
        reply = ChunkReply.from_bytes(answer)
        if reply.refused is None and not reply.final and reply.stored_to == report.from_byte:
            raise Transient("the collector took nothing")
        return reply

    def _reply(
        self, stored_to: int, since: int, *, final: bool = False, again: bool = False
    ) -> OutputReply:
        note = shipped_notes.written(replace(self._note, since=since), MAX_NOTE_CHARS)
        return OutputReply(stored_to=stored_to, final=final, note=note, again=again)


def _read(request: Request) -> Output | OutputReply:
    try:
        return Output.of(request)
    except Poison as error:
        return OutputReply(stored_to=0, refused=str(error), known=False)


def _refused(output: Output, why: str, *, over: bool = False, known: bool = True) -> OutputReply:
    return OutputReply(stored_to=output.start, refused=why, over=over, known=known)


async def _as_it_is(reply: OutputReply) -> OutputReply:
    return reply
