"""Answering requests for points: drawn once, stored before they are told, never changed."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import ValidationError

from trialbus.contracts.collections import ANSWERS, EXPERIMENTS, TRIALS
from trialbus.contracts.documents import ANSWER, EXPERIMENT, TRIAL
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Poison, Refused, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import SCHEDULING_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.ids import answer_id
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.proposals import (
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.suggestion import Answer, LookAhead, PointsRequest
from trialbus.kernel.traces import kept
from trialbus.ports.compute import Compute
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime import metrics
from trialbus.runtime.metric_labels import UNKNOWN
from trialbus.runtime.parts import Beside, Parts
from trialbus.runtime.sweeping import Purging, active_experiments
from trialbus.runtime.traced import told_in
from trialbus_suggestion.app.past import PastOf, behind_warm
from trialbus_suggestion.app.remote import NoRemoteAlgorithms, RemoteAlgorithms, RemoteQuestion
from trialbus_suggestion.app.spans import computing, tell_answered
from trialbus_suggestion.app.timing import Computed, teller
from trialbus_suggestion.core.seeds import request_seed

Named = tuple[Mapping[int, str], tuple[tuple[str, str], ...] | None]


class Answering:
    """The suggestion service's reaction to "experiment X asks for points".

    A group is answered as fast as its light algorithms are; each experiment with another one, or
    one on another server, is answered on its own.
    """

    def __init__(
        self,
        parts: Parts,
        compute: Compute,
        catalogue: Catalogue,
        remote: RemoteAlgorithms | None = None,
    ) -> None:
        self._parts = parts
        self._compute = compute
        self._remote = remote or NoRemoteAlgorithms()
        self._catalogue = catalogue
        self._computed = teller(parts.telemetry)
        for algorithm in catalogue.algorithms:
            # So that the first one is an increase, too.
            parts.telemetry.add(metrics.POINTS, 0, algorithm=algorithm)
            parts.telemetry.add(metrics.ALGORITHM_FAILURES, 0, algorithm=algorithm)
        self._purging = Purging(parts.store, parts.clock, self._remove)
        # Of which something may be remembered where algorithms compute.
        self._drawn: set[str] = set()

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception | Beside]:
        documents = await self._parts.store.get_many(EXPERIMENTS.name, uids)
        failed: dict[str, Exception] = {}
        beside: dict[str, Beside] = {}
        asking: list[tuple[Experiment, PointsRequest]] = []
        for uid, document in documents.items():
            try:
                state = EXPERIMENT.decode(document)
            except ValidationError as error:
                failed[uid] = Poison(f"unreadable experiment document: {error}")
                continue
            request = next((it for it in state.requests if it.got is None), None)
            if state.phase is ExperimentPhase.DELETED:
                await self._purging.purge({uid: state.completed_at})
            elif state.ended:
                self._forget(uid)
            elif request is not None and state.phase in SCHEDULING_PHASES:
                if self._answers_at_once(state.spec.algorithm.name):
                    asking.append((state, request))
                else:
                    beside[uid] = Beside(work=partial(self._answer_one, state, request))
        await self._answer_all(asking, failed)
        return failed | beside

    def _answers_at_once(self, algorithm: str) -> bool:
        return not self._remote.serves(algorithm) and self._compute.answers_at_once(algorithm)

    async def _answer_one(self, state: Experiment, request: PointsRequest) -> None:
        failed: dict[str, Exception] = {}
        await self._answer_all([(state, request)], failed)
        if failed:
            raise failed[state.id]

    async def _answer_all(
        self,
        asking: Sequence[tuple[Experiment, PointsRequest]],
        failed: dict[str, Exception],
    ) -> None:
        ids = [answer_id(state.id, request.number) for state, request in asking]
        there = await self._parts.store.get_many(ANSWERS.name, ids, fields=("_id",)) if ids else {}
        new = [pair for key, pair in zip(ids, asking, strict=True) if key not in there]
        results = await asyncio.gather(
            *(self._draw(state, request) for state, request in new), return_exceptions=True
        )
        answers: list[tuple[Experiment, Answer]] = []
        for (state, _), result in zip(new, results, strict=True):
            if isinstance(result, Answer):
                answers.append((state, result))
            elif isinstance(result, Exception):
                failed[state.id] = result
            else:
                raise result
        await self._store(answers)
        # An answer that was there already may not have been heard: tell it again.
        told = [(state, key in there) for key, (state, _) in zip(ids, asking, strict=True)]
        await self._tell([state for state, known in told if known], answers)

    async def _draw(self, state: Experiment, request: PointsRequest) -> Answer:
        """The points of one request. Raises Transient while the past is not readable."""
        started = self._parts.clock.monotonic()
        # A document holds signed 64-bit numbers.
        seed = request_seed(state.seed, request.number) >> 1
        asked = ProposalRequest(
            number=request.number,
            first=request.first,
            count=request.count,
            watermark=request.watermark,
            seed=seed,
        )
        refused: str | None = None
        try:
            with computing(self._parts.telemetry.tracing, state, request):
                proposal = await self._propose(state, request, asked)
        except Refused as error:
            proposal, refused = Proposal(points=()), str(error)
            self._log_failure(state, error, refused)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an algorithm raises is its verdict
            proposal, refused = Proposal(points=()), f"{type(error).__name__}: {error}"
            self._log_failure(state, error, refused)
        return Answer(
            id=answer_id(state.id, request.number),
            uid=state.id,
            version=1,
            number=request.number,
            first=request.first,
            watermark=request.watermark,
            seed=seed,
            points=proposal.points,
            exhausted=proposal.exhausted,
            look_ahead=self._look_ahead(state.spec.algorithm.name),
            refused=None if refused is None else refused[:MAX_MESSAGE_CHARS],
            answered_at=self._parts.clock.now(),
            took_s=round(self._parts.clock.monotonic() - started, 6),
            names=proposal.names,
            marks=proposal.marks,
            settings=proposal.settings,
        )

    def _log_failure(self, state: Experiment, error: Exception, said: str) -> None:
        """With the algorithm's own traceback, which is a note of the error: the experiment shows
        the last line of it only."""
        self._parts.telemetry.log.warning(
            "algorithm failed",
            uid=state.id,
            algorithm=state.spec.algorithm.name,
            error=said,
            exc_info=error,
        )

    async def _propose(
        self, state: Experiment, request: PointsRequest, asked: ProposalRequest
    ) -> Proposal:
        spec = state.spec
        if self._remote.serves(spec.algorithm.name):
            return await self._proposed_there(await self._question(state, request, asked))
        study = Study(
            parameters=spec.parameters,
            objective=spec.objective.type,
            algorithm=spec.algorithm,
            seed=state.seed,
            nas=spec.nas,
            names=spec.assignment_names,
        )
        history = PastOf(self._parts.store, state, request)
        self._drawn.add(state.id)
        return await self._compute.propose(state.id, study, behind_warm(state, asked), history)

    async def _proposed_there(self, question: RemoteQuestion) -> Proposal:
        began = self._parts.clock.monotonic()
        proposal = await self._remote.propose(question)
        algorithm = question.experiment.spec.algorithm.name
        took_s = self._parts.clock.monotonic() - began
        self._computed(Computed(algorithm=algorithm, points=len(proposal.points), took_s=took_s))
        return proposal

    async def _question(
        self, state: Experiment, request: PointsRequest, asked: ProposalRequest
    ) -> RemoteQuestion:
        """Katib's protocol sends the whole past each time: the one place that reads all trials."""
        names, settings = await self._told(state, request)
        found = await self._parts.store.find(
            TRIALS.name, Query(equals={"uid": state.id}, order="index")
        )
        trials = [TRIAL.decode(document) for document in found]
        return RemoteQuestion(
            experiment=state,
            request=asked,
            trials=tuple(trial for trial in trials if trial.index < request.first),
            names=names,
            settings=settings,
        )

    async def _told(self, state: Experiment, request: PointsRequest) -> Named:
        """What the algorithm called its points, and the settings that it gave back last."""
        fields = ("number", "first", "names", "settings")
        found = await self._parts.store.find(
            ANSWERS.name, Query(prefix=f"{state.id}:", fields=fields)
        )
        earlier = sorted(
            (it for it in found if it["number"] < request.number), key=lambda it: int(it["number"])
        )
        names = {
            index: name
            for answer in earlier
            for index, name in enumerate(answer.get("names", ()), start=answer["first"])
        }
        last = earlier[-1].get("settings") if earlier else None
        return names, None if last is None else tuple((name, value) for name, value in last)

    def _look_ahead(self, algorithm: str) -> LookAhead:
        description = self._catalogue.algorithms.get(algorithm)
        return LookAhead(description.look_ahead) if description is not None else LookAhead.NONE

    async def _store(self, answers: Sequence[tuple[Experiment, Answer]]) -> None:
        """Stored before it is told (law 7). A conflict: another replica was faster, its answer
        counts."""
        if not answers:
            return
        writes = [Write(base=None, document=ANSWER.encode(answer)) for _, answer in answers]
        outcomes = await self._parts.store.commit(ANSWERS.name, writes)
        self._parts.telemetry.add(
            metrics.CONFLICTS, sum(outcome is not Outcome.DONE for outcome in outcomes)
        )
        for (state, answer), outcome in zip(answers, outcomes, strict=True):
            if outcome is Outcome.DONE:
                tell_answered(self._parts.telemetry.tracing, state, answer)
                self._count(state, answer)

    def _count(self, state: Experiment, answer: Answer) -> None:
        """Once for each request: by whose answer is stored."""
        telemetry, algorithm = self._parts.telemetry, self._known(state.spec.algorithm.name)
        asked_at = next(it.asked_at for it in state.requests if it.number == answer.number)
        waited_s = self._parts.clock.now() - asked_at
        trace = kept(state.traceparent)
        telemetry.observe(metrics.SUGGESTED, waited_s, trace, algorithm=algorithm)
        telemetry.add(metrics.POINTS, len(answer.points), algorithm=algorithm)
        if answer.refused is not None:
            telemetry.add(metrics.ALGORITHM_FAILURES, algorithm=algorithm)

    def _known(self, algorithm: str) -> str:
        """As a label: experiments may be older than what is installed."""
        known = algorithm in self._catalogue.algorithms or self._remote.serves(algorithm)
        return algorithm if known else UNKNOWN

    async def _tell(
        self, known: Sequence[Experiment], answers: Sequence[tuple[Experiment, Answer]]
    ) -> None:
        now, tracing = self._parts.clock.now(), self._parts.telemetry.tracing
        notices: list[Event] = []
        for state, answer in [*answers, *((state, None) for state in known)]:
            notice = _notice(state, answer, now)
            notices += told_in([notice], tracing, state.traceparent, state.id)
        await self._parts.outbox.publish_notices(notices)

    async def _remove(self, uid: str) -> bool:
        self._forget(uid)
        await self._parts.store.delete(ANSWERS.name, Query(prefix=f"{uid}:"))
        return True

    def _forget(self, uid: str) -> None:
        self._drawn.discard(uid)
        self._compute.forget(uid)

    async def sweep(self) -> Sequence[str]:
        """Active experiments, and deleted ones of which something may be left. What is remembered
        of those that have ended is dropped: their end is no hint here."""
        active = await active_experiments(self._parts.store)
        for uid in self._drawn.difference(active):
            self._forget(uid)
        return [*active, *await self._purging.due()]


def _notice(state: Experiment, answer: Answer | None, now: float) -> Event:
    refused = answer is not None and answer.refused is not None
    type_ = "suggestion.refused" if refused else "suggestion.proposed"
    number = answer.number if answer is not None else state.next_request - 1
    return Event(
        id=f"{answer_id(state.id, number)}.{type_}" + ("" if answer is not None else f".{now}"),
        type=type_,
        uid=state.id,
        namespace=state.namespace,
        experiment=state.name,
        at=now,
        message=(answer.refused or "") if answer is not None else "",
        data={"number": number, "count": len(answer.points) if answer is not None else None},
    )
