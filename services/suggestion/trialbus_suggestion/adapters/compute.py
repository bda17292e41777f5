"""Computing in this process, or in worker processes for algorithms that are heavy."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from random import Random
from time import monotonic

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.limits import (
    ALGORITHM_DEADLINE_S,
    FURTHER_POINT_SHARE,
    HISTORY_PORTION,
)
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus.ports.compute import HistorySource
from trialbus_suggestion.adapters.lanes import Lane, Lanes, Moved, Times, processes_for
from trialbus_suggestion.adapters.worker import (
    Reply,
    WorkerLost,
    WorkerStuck,
    WorkerUnavailable,
)
from trialbus_suggestion.app.deaths import TellDeath, ignore_death
from trialbus_suggestion.app.timing import Computed, TellComputed, tell_nobody
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.memory import Memory
from trialbus_suggestion.core.registry import Registry

# First "what do you lack", then the history; once more if it was evicted in between.
MAX_ROUNDS = 3
# A process may die of something else; twice with the same question is the algorithm's doing.
MAX_LOSSES = 2
# Of the packages whose algorithms may compute on the event loop, if they are not heavy.
OURS = "trialbus_suggestion."

Ask = Callable[[History | None], Awaitable[Reply]]


class InlineCompute:
    """In this process and on its event loop: for simulations and for light algorithms."""

    def __init__(self, registry: Registry, tell: TellComputed = tell_nobody) -> None:
        self._memory = Memory(registry, Random)
        self._tell = tell

    def answers_at_once(self, algorithm: str) -> bool:  # noqa: ARG002
        return True

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        took_s = 0.0

        async def ask(past: History | None) -> Reply:
            nonlocal took_s
            began = monotonic()
            reply = self._memory.answer(uid, study, request, past)
            took_s += monotonic() - began
            return reply

        proposal = await _converse(ask, history)
        self._tell(
            Computed(algorithm=study.algorithm.name, points=len(proposal.points), took_s=took_s)
        )
        return proposal

    def forget(self, uid: str) -> None:
        self._memory.forget(uid)

    async def close(self) -> None:
        """Nothing to stop."""


class ProcessCompute:
    """Built-in light algorithms inline; all others in worker processes, which start when they are
    needed.

    A worker may die at any time: a new one is started, and told what it lacks. Workers die with
    this process. `timeout_s`: of a computation for one point, see `deadline_s`. `tell`: hears of
    every answer what it took. `tell_death`: of every worker that ends before it is told to.
    """

    def __init__(
        self,
        registry: Registry,
        timeout_s: float = ALGORITHM_DEADLINE_S,
        processes: int = 0,
        tell: TellComputed = tell_nobody,
        tell_death: TellDeath = ignore_death,
    ) -> None:
        self._light = {
            it.name
            for it in registry.descriptions
            if it.implementation.startswith(OURS) and not it.heavy
        }
        self._timeout_s = timeout_s
        self._tell = tell
        self._inline = InlineCompute(registry, tell)
        built_in = frozenset(it.name for it in registry.descriptions if it in BUILT_IN)
        self._lanes = Lanes(
            registry.descriptions, built_in, processes_for(processes), tell_death=tell_death
        )
        self._closed = False

    @property
    def worker_pids(self) -> list[int]:
        """Of the workers that run."""
        return self._lanes.pids

    def answers_at_once(self, algorithm: str) -> bool:
        return algorithm in self._light

    def deadline_s(self, count: int) -> float:
        """Of an answer with so many points."""
        return self._timeout_s * (1 + (count - 1) * FURTHER_POINT_SHARE)

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        if self.answers_at_once(study.algorithm.name):
            return await self._inline.propose(uid, study, request, history)
        losses, times = 0, Times()
        while not self._closed:
            lane = self._lanes.of(uid, study.algorithm.name)
            ask = partial(self._ask, lane, times, uid, study, request)
            came_at = monotonic()
            try:
                async with lane.room:
                    times.waited_s += monotonic() - came_at
                    proposal = await _converse(ask, history)
                self._tell(
                    Computed(
                        algorithm=study.algorithm.name,
                        points=len(proposal.points),
                        took_s=times.computed_s,
                        waited_s=times.waited_s,
                    )
                )
                return proposal
            except Moved:
                continue
            except WorkerUnavailable as error:
                raise Transient(str(error)) from error
            except WorkerStuck as error:
                raise _refused(str(error)) from error
            except WorkerLost as error:
                losses += 1
                if losses == MAX_LOSSES and not self._closed:
                    raise _refused(f"ended its process {MAX_LOSSES} times: {error}") from error
        raise Transient("the algorithms' processes are closed")

    async def _ask(
        self,
        lane: Lane,
        times: Times,
        uid: str,
        study: Study,
        request: ProposalRequest,
        past: History | None,
    ) -> Reply:
        question = (uid, study, request, past)
        return await self._lanes.ask(lane, question, self.deadline_s(request.count), times)

    def forget(self, uid: str) -> None:
        self._inline.forget(uid)
        self._lanes.forget(uid)

    async def close(self) -> None:
        self._closed = True
        await self._lanes.close()


def _refused(what: str) -> Refused:
    return Refused([Problem(field="algorithm", message=f"the algorithm {what}")])


async def _converse(ask: Ask, history: HistorySource) -> Proposal:
    """Tell the algorithm what it lacks until it answers."""
    reply = await ask(None)
    for _ in range(MAX_ROUNDS - 1):
        if isinstance(reply, Proposal):
            return reply
        past = await history(first=reply.first, after=reply.after)
        for portion in _portions(past):
            reply = await ask(portion)
            # Where that was on the event loop, others get their turn.
            await asyncio.sleep(0)
    if isinstance(reply, Proposal):
        return reply
    raise Transient("the points before the requested ones are not written yet")


def _portions(past: History) -> Iterator[History]:
    """First the points, then the results: told in whatever portions, an algorithm comes to the
    same. The last one completes it."""
    points, finished, size = past.points, past.finished, HISTORY_PORTION
    if len(points) + len(finished) <= size:
        yield past
        return
    for begin in range(0, len(points), size):
        end = begin + size
        yield History(
            first=past.first + begin, points=points[begin:end], marks=past.marks[begin:end]
        )
    behind = past.first + len(points)
    for begin in range(0, len(finished), size):
        yield History(first=behind, finished=finished[begin : begin + size])
