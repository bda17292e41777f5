"""The launcher's side of ask and tell: what workers say, answered in groups after the commit."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from trialbus.contracts.envelope import Body, FieldProblem
from trialbus.contracts.requests import event_in, refused_notice
from trialbus.contracts.work import (
    Ask,
    Heartbeat,
    HeldTrial,
    Release,
    Reports,
    Tell,
    WorkReply,
    WorkVerb,
)
from trialbus.contracts.work import Work as Said
from trialbus.contracts.work_events import WorkAsked, read_work
from trialbus.kernel.errors import Poison, Problem, Refused
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.run import StopReason
from trialbus.ports.bus import Answer, Request
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.ending import Ending
from trialbus_trial_launcher.app.leasing.giving import Asking, Claims, Giving
from trialbus_trial_launcher.app.leasing.reporting import Reporting
from trialbus_trial_launcher.app.leasing.telling import Telling
from trialbus_trial_launcher.app.leasing.waiting import Waiting
from trialbus_trial_launcher.app.leasing.word import Word
from trialbus_trial_launcher.app.leasing.work import Work, Works
from trialbus_trial_launcher.core.leases import Place


@dataclass(slots=True)
class _Asked:
    """One request, and what becomes of it."""

    request: Request
    said: WorkAsked
    work: Work
    words: list[Word[Any]] = field(default_factory=list)
    asking: Asking | None = None

    @property
    def may_wait(self) -> bool:
        """Results are answered at once."""
        return isinstance(self.said.body, Ask)

    def reply(self) -> WorkReply:
        given = self.asking.given if self.asking is not None else ()
        work = self.asking.work if self.asking is not None else self.work
        return WorkReply(
            accepted=True,
            phase=work.phase.value,
            over=work.over,
            answers=tuple(word.answer for word in self.words if word.answer is not None),
            trials=tuple(given),
        )


class Leasing:
    def __init__(self, parts: Parts, checkpoint_root: str) -> None:
        self._parts = parts
        self._works = Works(parts.store, parts.clock)
        self._ending = Ending(parts)
        self._giving = Giving(parts, self._ending, checkpoint_root)
        self._waiting = Waiting(parts, self._works, self._giving)
        self._reporting = Reporting(parts, self._ending)
        self._telling = Telling(parts, self._ending)

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        counting = (self._ending.tell_held,) if self._parts.settings.metrics else ()
        return (self._waiting.serve, self._ending.expire, self._ending.notices.publish, *counting)

    async def respond(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """One `WorkReply` for each, in order. Raises Transient: senders repeat."""
        read = [await self._read(request) for request in requests]
        turn = self._waiting.turn
        names = {(it.namespace, it.name) for it in read if isinstance(it, WorkAsked)}
        works = await self._works.find(names) if names else {}
        asked = [
            await self._placed(request, said, works)
            for request, said in zip(requests, read, strict=True)
        ]
        await self._obey([it for it in asked if isinstance(it, _Asked)])
        return [self._answer(it, turn) if isinstance(it, _Asked) else it.to_bytes() for it in asked]

    def knows(self, uid: str) -> bool:
        """Whether it is known to be an experiment for workers."""
        return self._works.knows(uid)

    async def look(self, uids: Collection[str]) -> frozenset[str]:
        """Of experiments for workers: take back what must stop, give out what waits. Returns those
        that are deleted. Raises Transient."""
        if not uids:
            return frozenset()
        found = await self._works.of(uids)
        works = [work for work in found.values() if work.phase is not ExperimentPhase.DELETED]
        verdicts = await self._reporting.verdicts(
            [key for work in works if work.spec.early_stopping for key in work.waiting]
        )
        wanted: dict[str, tuple[Place, str]] = {}
        for work in works:
            for place, stop in work.attempts:
                early = StopReason.EARLY_STOPPED.value if place.run_id in verdicts else ""
                if stop or early:
                    wanted[place.run_id] = (place, stop or early)
        await self._ending.stop(wanted)
        self._waiting.news(list(uids))
        return frozenset(uids) - {work.uid for work in works}

    def forget(self, uid: str) -> None:
        self._works.forget(uid)
        self._giving.forget(uid)
        self._waiting.forget(uid)

    async def _read(self, request: Request) -> WorkAsked | WorkReply:
        try:
            return read_work(request)
        except (Poison, Refused) as error:
            problems = (
                error.problems
                if isinstance(error, Refused)
                else (Problem(field="", message=str(error)),)
            )
            return await self._refused(request, problems)

    async def _placed(
        self,
        request: Request,
        said: WorkAsked | WorkReply,
        works: Mapping[tuple[str, str], Work],
    ) -> _Asked | WorkReply:
        if isinstance(said, WorkReply):
            return said
        work = works.get((said.namespace, said.name))
        if work is None:
            message = f"there is no experiment {said.namespace}/{said.name}"
            return await self._refused(request, [Problem(field="metadata.name", message=message)])
        # What a launcher runs may report, too: `report_metrics` of the Python client does.
        if not work.for_workers and said.verb is not WorkVerb.REPORT:
            message = "its trials are run from its template (trialbus.io/trials-by: launcher)"
            return await self._refused(request, [Problem(field="metadata", message=message)])
        return _Asked(request=request, said=said, work=work)

    async def _refused(self, request: Request, problems: Sequence[Problem]) -> WorkReply:
        notice = refused_notice(
            request, problems, self._parts.clock.now(), command=_event_id(request)
        )
        if notice is not None:
            await self._parts.outbox.publish_notices([notice])
        found = tuple(FieldProblem(field=it.field, message=it.message) for it in problems)
        return WorkReply(accepted=False, problems=found)

    async def _obey(self, asked: Sequence[_Asked]) -> None:
        """Reports before results, results before asks."""
        words: dict[type[Body], list[Word[Any]]] = {}
        askings: dict[str, Asking] = {}
        for it in asked:
            it.words = [Word(it.work, item) for item in _items(it.said.body)]
            words.setdefault(type(it.said.body), []).extend(it.words)
            ask = _ask_in(it.said.body)
            if ask is not None and not it.work.over:
                # The same ask twice, as after a pause of the store, gets the same trials.
                asking = Asking(it.work, ask)
                it.asking = askings.setdefault(asking.key, asking)
        if own := words.get(Reports):
            await self._reporting.report(own)
        if own := words.get(Heartbeat):
            await self._reporting.heartbeat(own)
        if own := words.get(Release):
            await self._telling.release(own)
        if own := words.get(Tell):
            lost = await self._telling.tell(own, partial(self._first_claims, asked))
            doubtful = {
                it.asking.key: it.asking
                for it in asked
                if it.asking is not None and any(word.run_id in lost for word in it.words)
            }
            await self._giving.compare(list(doubtful.values()))
        hungry = [asking for asking in askings.values() if not asking.is_full]
        if hungry:
            await self._giving.give(hungry)

    async def _first_claims(self, asked: Sequence[_Asked]) -> Claims:
        """A request whose results are new was never answered, so its ask is new too, and both are
        one commit."""
        fresh = {
            it.asking.key: it.asking
            for it in asked
            if it.asking is not None and it.words and all(word.answer is None for word in it.words)
        }
        for asking in fresh.values():
            asking.again = False
        return await self._giving.claims(list(fresh.values())) if fresh else Claims()

    def _answer(self, asked: _Asked, turn: int) -> Answer:
        asking = asked.asking
        is_answered = asking is None or asking.given or asking.done or asking.work.over
        if asking is None or is_answered or not (asked.may_wait and asking.ask.wait):
            return asked.reply().to_bytes()
        return self._later(asked, self._waiting.wait(asking, turn))

    async def _later(self, asked: _Asked, waited: Awaitable[Asking | None]) -> bytes | None:
        asked.asking = await waited
        return None if asked.asking is None else asked.reply().to_bytes()


def _event_id(request: Request) -> str:
    """ "" if it is none that can be read."""
    try:
        event = event_in(request)
    except (Poison, Refused):
        return ""
    return "" if event is None else event.id


def _items(body: Said) -> Sequence[HeldTrial]:
    match body:
        case Reports(reports=items):
            return items
        case Tell(results=results):
            return results
        case Heartbeat(trials=trials) | Release(trials=trials):
            return trials
        case Ask():
            return ()


def _ask_in(body: Said) -> Ask | None:
    match body:
        case Ask():
            return body
        case Tell(ask=ask):
            return ask
        case _:
            return None
