"""Claims: of the pods that may stand for one attempt only the first to ask runs its command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport
from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.contracts.shipping import Claim, ClaimReply
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.limits import MAX_COMMIT_RETRIES, REQUEST_TIMEOUT_S
from trialbus.kernel.run import Run
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.shipping.attempts import Attempt, Attempts


@dataclass(slots=True)
class _Settled:
    """attempts: as they are after the commit. fresh: runs that were claimed just now."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)


class Claiming:
    """A claim is a compare-and-set on the run's own document."""

    def __init__(self, parts: Parts, attempts: Attempts) -> None:
        self._parts = parts
        self._attempts = attempts

    async def respond(self, requests: Sequence[Request]) -> list[bytes]:
        """One `ClaimReply` for each, in order. Raises Transient: senders repeat."""
        read = [_read(request) for request in requests]
        claims = [claim for claim in read if isinstance(claim, Claim)]
        settled = await self._settle(claims)
        replies = [
            await self._reply(claim, settled) if isinstance(claim, Claim) else claim
            for claim in read
        ]
        return [reply.to_bytes() for reply in replies]

    async def _settle(self, claims: Sequence[Claim]) -> _Settled:
        """Of several claims of one attempt the first of the group is tried."""
        first: dict[str, str] = {}
        for claim in claims:
            first.setdefault(claim.run, claim.holder)
        settled, waiting = _Settled(), set(first)
        for _ in range(MAX_COMMIT_RETRIES):
            settled.attempts |= await self._attempts.find(waiting)
            changes = {
                key: _held_by(settled.attempts[key].run, first[key])
                for key in waiting
                if key in settled.attempts and _is_free(settled.attempts[key])
            }
            done = await self._commit(settled.attempts, changes)
            settled.fresh |= done
            for key in done:
                settled.attempts[key] = replace(settled.attempts[key], run=changes[key])
            waiting = set(changes) - done
            if not waiting:
                return settled
        raise Transient("the claims lost every race")

    async def _commit(
        self, before: Mapping[str, Attempt], changes: Mapping[str, Run]
    ) -> frozenset[str]:
        if not changes:
            return frozenset()
        writes = [
            Write(base=RUN.encode(before[key].run), document=RUN.encode(run))
            for key, run in changes.items()
        ]
        outcomes = await self._parts.store.commit(RUNS.name, writes)
        done = frozenset(
            key for key, outcome in zip(changes, outcomes, strict=True) if outcome is Outcome.DONE
        )
        self._parts.telemetry.add(metrics.CONFLICTS, len(changes) - len(done))
        return done

    async def _reply(self, claim: Claim, settled: _Settled) -> ClaimReply:
        attempt = settled.attempts.get(claim.run)
        if attempt is None:
            why = "there is no such attempt: its experiment is deleted, or another installation's"
            return ClaimReply(held=False, known=False, refused=why)
        why = _refusal(attempt)
        if not why and attempt.run.holder != claim.holder:
            why = f"another pod has this attempt: {attempt.run.holder}"
        if why:
            self._parts.telemetry.add(metrics.STALE)
            return ClaimReply(held=False, refused=why)
        if claim.run in settled.fresh:
            return ClaimReply(held=True)
        return ClaimReply(held=True, stored_to=await self._stored_to(attempt.run))

    async def _stored_to(self, run: Run) -> int:
        """Of a container that was started again: its output goes on where the chain ends."""
        report = ChunkReport(run=run.id, from_byte=0, to_byte=0)
        subject = subjects.metric(run.namespace, run.experiment, run.trial)
        request = Request(subject=subject, data=report.to_bytes())
        answer = await self._parts.bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        return ChunkReply.from_bytes(answer).stored_to


def _read(request: Request) -> Claim | ClaimReply:
    try:
        return Claim.from_bytes(request.data)
    except Poison as error:
        return ClaimReply(held=False, known=False, refused=f"the claim cannot be read: {error}")


def _held_by(run: Run, holder: str) -> Run:
    return replace(run, version=run.version + 1, holder=holder)


def _is_free(attempt: Attempt) -> bool:
    return not attempt.run.holder and not _refusal(attempt)


def _refusal(attempt: Attempt) -> str:
    """Why nobody may begin it."""
    stop = attempt.stop
    return attempt.over or (f"{attempt.run.trial} is to be stopped: {stop}" if stop else "")
