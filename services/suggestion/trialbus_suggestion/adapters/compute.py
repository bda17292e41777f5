"""Computing in this process, or in a worker process for algorithms that are heavy."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import SUGGESTION_DEADLINE_S
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus.ports.compute import HistorySource
from trialbus_suggestion.adapters.worker import WorkerLost, WorkerProcess
from trialbus_suggestion.core.memory import HistoryNeeded, Memory
from trialbus_suggestion.core.registry import Registry

# First "what do you lack", then the history; once more if it was evicted in between.
MAX_ROUNDS = 3
# The second loss in a row is not bad luck: let the caller back off.
MAX_LOSSES = 2

Ask = Callable[[History | None], Awaitable[Proposal | HistoryNeeded]]


class InlineCompute:
    """In this process and on its event loop: for simulations and for light algorithms."""

    def __init__(self, registry: Registry) -> None:
        self._memory = Memory(registry, Random)

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        async def ask(past: History | None) -> Proposal | HistoryNeeded:
            return self._memory.answer(uid, study, request, past)

        return await _converse(ask, history)

    def forget(self, uid: str) -> None:
        self._memory.forget(uid)

    async def close(self) -> None:
        """Nothing to stop."""


class ProcessCompute:
    """Heavy algorithms in one worker process, started with the first of them; light ones inline.

    The worker may die at any time: a new one is started, and told what it lacks. It dies with
    this process, and is killed when an answer takes longer than `timeout_s`.
    """

    def __init__(self, registry: Registry, timeout_s: float = SUGGESTION_DEADLINE_S) -> None:
        self._heavy = {each.name for each in registry.descriptions if each.heavy}
        self._inline = InlineCompute(registry)
        self._worker = WorkerProcess(registry.descriptions, timeout_s)
        # One thread: requests queue up here, as the worker takes one at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._closed = False

    @property
    def worker_pid(self) -> int | None:
        """None while no worker runs."""
        return self._worker.pid

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        if study.algorithm.name not in self._heavy:
            return await self._inline.propose(uid, study, request, history)
        loop = asyncio.get_running_loop()

        async def ask(past: History | None) -> Proposal | HistoryNeeded:
            if self._closed:
                raise Transient("the algorithm's process is gone: closed")
            question = (uid, study, request, past)
            return await loop.run_in_executor(self._thread, self._worker.ask, question)

        reason = ""
        for _ in range(MAX_LOSSES):
            try:
                return await _converse(ask, history)
            except WorkerLost as error:
                reason = str(error)
        raise Transient(f"the algorithm's process is gone: {reason}")

    def forget(self, uid: str) -> None:
        self._inline.forget(uid)
        if self._worker.pid is not None:
            self._thread.submit(self._worker.forget, uid)

    async def close(self) -> None:
        self._closed = True
        self._worker.kill()
        # The thread comes free: its conversations end with the worker.
        await asyncio.to_thread(self._thread.shutdown)
        self._worker.end()


async def _converse(ask: Ask, history: HistorySource) -> Proposal:
    """Tell the algorithm what it lacks until it answers."""
    past: History | None = None
    for _ in range(MAX_ROUNDS):
        reply = await ask(past)
        if isinstance(reply, Proposal):
            return reply
        past = await history(first=reply.first, after=reply.after)
    raise Transient("the points before the requested ones are not written yet")
