"""Giving trials out: who inserts the run has the trial."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trialbus.contracts.collections import ANSWERS, RUNS
from trialbus.contracts.documents import ANSWER, RUN
from trialbus.contracts.work import Ask, GivenTrial
from trialbus.kernel.checkpoints import checkpoint_of
from trialbus.kernel.ids import answer_id
from trialbus.kernel.limits import MAX_COMMIT_RETRIES, MAX_KNOWN_EXPERIMENTS, MAX_PAYLOAD_BYTES
from trialbus.kernel.run import Run
from trialbus.kernel.space import typed
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.traces import kept, run_span
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.ending import WORKER, Ending
from trialbus_trial_launcher.app.leasing.work import Work
from trialbus_trial_launcher.core.leases import Place, leased, released

_KEPT_ANSWERS = 1000
# Of the answer's bytes: the rest is for what stands around the trials.
_MOST_BYTES = MAX_PAYLOAD_BYTES * 3 // 4


@dataclass(slots=True)
class Asking:
    """One ask of one experiment. again: it may be the repeat of one that was answered."""

    work: Work
    ask: Ask
    again: bool = True
    given: list[GivenTrial] = field(default_factory=list)
    done: bool = False

    @property
    def is_full(self) -> bool:
        """There is nothing more to give."""
        return self.done or len(self.given) >= self.ask.count

    @property
    def key(self) -> str:
        return f"{self.work.uid}/{self.ask.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A trial for an ask. run: who inserts it has the trial."""

    asking: Asking
    given: GivenTrial
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is about to be given out. claimed: by experiment, what is marked as somebody's.
    tell: hears of what is given."""

    claims: Sequence[Claim] = ()
    claimed: dict[str, set[str]] = field(default_factory=dict)
    tell: Callable[[Claim], None] | None = None

    @property
    def runs(self) -> list[Run]:
        return [claim.run for claim in self.claims]

    def settle(self, done: Collection[str]) -> None:
        """Those that are ours. What another process has given out stays marked as claimed."""
        for claim in self.claims:
            if claim.run.id in done:
                claim.asking.given.append(claim.given)
                if self.tell is not None:
                    self.tell(claim)

    def fail(self) -> None:
        """Nobody knows which are given out: look before the next."""
        for claim in self.claims:
            self.claimed.pop(claim.run.uid, None)


async def no_claims() -> Claims:
    return Claims()


class Giving:
    """checkpoint_root: folder or URI that the checkpoints of all trials are below."""

    def __init__(self, parts: Parts, ending: Ending, checkpoint_root: str) -> None:
        self._parts = parts
        self._ending = ending
        self._checkpoint_root = checkpoint_root
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        # Runs of open attempts that somebody has, or that are being given out just now.
        self._claimed: dict[str, set[str]] = {}
        # By the keys of asks that are being given to.
        self._in_hand: dict[str, asyncio.Future[None]] = {}

    def forget(self, uid: str) -> None:
        self._claimed.pop(uid, None)

    async def give(self, askings: Sequence[Asking]) -> None:
        """Fills in what is given; less than asked: there is no more just now. Raises Transient."""
        async with self._alone(askings):
            await self._give(askings)

    @asynccontextmanager
    async def _alone(self, askings: Sequence[Asking]) -> AsyncIterator[None]:
        """A repeat that comes while its first is in hand sees what that one gets."""
        while busy := [it for it in askings if it.key in self._in_hand]:
            for asking in busy:
                asking.again = True
            await asyncio.wait({self._in_hand[it.key] for it in busy})
        done = asyncio.get_running_loop().create_future()
        keys = {asking.key for asking in askings}
        self._in_hand.update(dict.fromkeys(keys, done))
        try:
            yield
        finally:
            for key in keys:
                del self._in_hand[key]
            done.set_result(None)

    async def _give(self, askings: Sequence[Asking]) -> None:
        await self._repeat([asking for asking in askings if asking.again])
        await self._learn([asking.work for asking in askings])
        answers = await self._load_answers([it.work for it in askings if not it.done])
        for _ in range(MAX_COMMIT_RETRIES):
            claims = self._claims(askings, answers)
            try:
                done = await self._ending.commit((), claims.runs)
            except BaseException:
                claims.fail()
                raise
            claims.settle(done)
            if len(done) == len(claims.runs):
                return

    async def claims(self, askings: Sequence[Asking]) -> "Claims":
        """What to give out with another commit, of asks that are no repeats. Raises Transient."""
        await self._learn([asking.work for asking in askings])
        return self._claims(askings, await self._load_answers([it.work for it in askings]))

    async def compare(self, askings: Sequence[Asking]) -> None:
        """Asks that were taken for new and may be none: what an earlier one of the same name has
        counts, and what these got goes back. Raises Transient."""
        found = await self._asked_before(askings)
        for asking in askings:
            own = {(it.index, it.attempt) for it in asking.given}
            runs = found.get(asking.key, [])
            if all((run.index, run.attempt) in own for run in runs):
                continue
            now = self._parts.clock.now()
            back = [run for run in runs if (run.index, run.attempt) in own and not run.ended]
            await self._ending.commit([(run, released(run, now)) for run in back])
            asking.given = []
            await self._repeat([asking])

    async def _asked_before(self, askings: Sequence[Asking]) -> dict[str, list[Run]]:
        """What was given to these asks, by their keys."""
        if not askings:
            return {}
        found = await self._parts.store.find(
            RUNS.name, Query(among={"ask": [asking.key for asking in askings]})
        )
        earlier: dict[str, list[Run]] = {}
        for document in found:
            run = RUN.decode(document)
            earlier.setdefault(run.ask or "", []).append(run)
        return earlier

    async def _repeat(self, askings: Sequence[Asking]) -> None:
        """Those that were answered before get what they got, as far as it is still theirs."""
        earlier = await self._asked_before(askings)
        answered = [asking for asking in askings if asking.key in earlier]
        answers = await self._load_answers([asking.work for asking in answered])
        for asking in answered:
            asking.done = True
            asking.given = [
                given
                for run in sorted(earlier[asking.key], key=lambda run: run.index)
                if not run.ended
                and (given := self._given(asking, run.index, run.attempt, answers)) is not None
            ]

    async def _learn(self, works: Sequence[Work]) -> None:
        """Which open attempts somebody has, of experiments that this process does not know yet."""
        while len(self._claimed) > MAX_KNOWN_EXPERIMENTS:
            # It is learned again.
            del self._claimed[next(iter(self._claimed))]
        unknown = {work.uid: work for work in works if work.uid not in self._claimed}
        ids = [key for work in unknown.values() for key in work.waiting]
        found = await self._parts.store.get_many(RUNS.name, ids, fields=("uid",)) if ids else {}
        for uid in unknown:
            self._claimed.setdefault(uid, set())
        for run_id, document in found.items():
            self._claimed.setdefault(document["uid"], set()).add(run_id)
        for work in works:
            self._claimed.setdefault(work.uid, set()).intersection_update(work.waiting)

    def _claims(self, askings: Sequence[Asking], answers: Mapping[str, Answer]) -> "Claims":
        claims = [
            claim
            for asking in askings
            if not asking.done
            for claim in self._claims_of(asking, answers)
        ]
        return Claims(claims=claims, claimed=self._claimed, tell=self._tell)

    def _tell(self, claim: Claim) -> None:
        opened = claim.asking.work.open.get(claim.run.index)
        if opened is not None:
            waited_s = claim.run.created_at - opened.opened_at
            trace = kept(claim.run.traceparent)
            self._parts.telemetry.observe(metrics.LAUNCHED, waited_s, trace, place=WORKER)

    def _claims_of(self, asking: Asking, answers: Mapping[str, Answer]) -> Iterator[Claim]:
        claimed = self._claimed.setdefault(asking.work.uid, set())
        missing = asking.ask.count - len(asking.given)
        if missing <= 0:
            return
        is_one = asking.ask.count == 1
        room = _MOST_BYTES - sum(len(it.model_dump_json()) for it in asking.given)
        for run_id, place in asking.work.waiting.items():
            if run_id in claimed:
                continue
            given = self._given(asking, place.index, place.attempt, answers)
            if given is None:
                continue
            # The first is given whatever its size.
            room -= 0 if is_one else len(given.model_dump_json())
            if room < 0 and missing < asking.ask.count:
                return
            missing -= 1
            claimed.add(run_id)
            yield Claim(asking=asking, given=given, run=self._run(asking, place))
            if missing == 0:
                return

    def _run(self, asking: Asking, place: Place) -> Run:
        return leased(
            place,
            worker=asking.ask.worker,
            ask=asking.key,
            lease_s=asking.ask.lease,
            now=self._parts.clock.now(),
        )

    async def _load_answers(self, works: Sequence[Work]) -> Mapping[str, Answer]:
        wanted = frozenset[str]().union(*(work.answer_ids for work in works))
        missing = [key for key in wanted if key not in self._answers]
        if missing:
            documents = await self._parts.store.get_many(ANSWERS.name, missing)
            for key, document in documents.items():
                self._answers[key] = ANSWER.decode(document)
        answers = {key: self._answers[key] for key in wanted if key in self._answers}
        while len(self._answers) > _KEPT_ANSWERS:
            self._answers.popitem(last=False)
        return answers

    def _given(
        self, asking: Asking, index: int, attempt: int, answers: Mapping[str, Answer]
    ) -> GivenTrial | None:
        """None: it is not open any more, or its point cannot be read."""
        work = asking.work
        open_ = work.open.get(index)
        answer = None if open_ is None else answers.get(answer_id(work.uid, open_.request))
        if answer is None or not 0 <= index - answer.first < len(answer.points):
            return None
        mark = answer.mark(index)
        checkpoint = checkpoint_of(
            self._checkpoint_root, work.uid, index, mark.parent, work.spec.algorithm
        )
        place = work.place(index, attempt)
        trace = kept(place.traceparent)
        return GivenTrial(
            trial=place.trial,
            attempt=attempt,
            index=index,
            parameters=_parameters(work, answer.points[index - answer.first]),
            lease=asking.ask.lease,
            checkpoint=checkpoint.own,
            parent=checkpoint.parent,
            labels=dict(mark.labels),
            traceparent=None if trace is None else str(run_span(trace, work.uid, index, attempt)),
        )


def _parameters(work: Work, point: Sequence[str]) -> dict[str, float | int | str]:
    """Of an architecture search texts, as its algorithm gave them."""
    spec = work.spec
    if spec.nas is not None:
        return dict(zip(spec.assignment_names, point, strict=True))
    return {
        parameter.name: typed(parameter, text)
        for parameter, text in zip(spec.parameters, point, strict=True)
    }
