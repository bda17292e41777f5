"""Worker processes with turns: slow experiments have processes of their own, so that they hold
nobody but each other."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.limits import (
    FAST_ANSWERS_TO_RETURN,
    FAST_DEADLINE_S,
    FAST_LOAD_DEADLINE_S,
    MAX_ALGORITHM_PROCESSES,
    MAX_CONVERSATIONS,
    MAX_KNOWN_EXPERIMENTS,
    MIN_ALGORITHM_PROCESSES,
    SLOW_ANSWER_S,
)
from trialbus.kernel.proposals import Proposal
from trialbus_suggestion.adapters.worker import (
    Question,
    Reply,
    WorkerLost,
    WorkerProcess,
    WorkerStuck,
)
from trialbus_suggestion.app.deaths import Death, TellDeath, ignore_death

# Who computes for seconds leaves the processor to services and to fast algorithms.
_SLOW_NICENESS = 10
# One slow answer may be the machine's fault.
SLOW_ANSWERS_TO_LEAVE = 2


class Moved(Exception):
    """The experiment computes elsewhere from now on: tell it there what it lacks."""


def processes_for(wanted: int) -> int:
    """wanted: the setting; 0 chooses by the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return wanted or min(max(cores or 1, MIN_ALGORITHM_PROCESSES), MAX_ALGORITHM_PROCESSES)


@dataclass(slots=True, kw_only=True)
class Times:
    """What one answer costs. waited_s: all that is not computing: turns, a process's start, what
    was begun anew elsewhere."""

    computed_s: float = 0.0
    waited_s: float = 0.0


class Lane:
    """One worker process, with a thread to talk to it, and who computes there.

    room: for those who have their turn, or read their past for it. asked: questions that are not
    answered yet. began: when it was given the one in hand, on the monotonic clock.
    """

    def __init__(self, worker: WorkerProcess, *, is_fast: bool) -> None:
        self.worker = worker
        self.is_fast = is_fast
        self.room = asyncio.Semaphore(MAX_CONVERSATIONS)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="algorithms")
        self.experiments: set[str] = set()
        self.asked = 0
        self.began = 0.0
        self.is_closed = False

    @property
    def is_held(self) -> bool:
        """By a question that takes longer than telling another process the past would."""
        return self.asked > 0 and monotonic() - self.began > FAST_DEADLINE_S

    def forget(self, uid: str) -> None:
        self.experiments.discard(uid)
        if self.worker.pid is not None and not self.is_closed:
            self.thread.submit(self.worker.forget, uid)


@dataclass(slots=True, kw_only=True)
class _Pace:
    """Of one experiment. against: answers in a row that speak against where it computes."""

    algorithm: str
    is_slow: bool
    against: int = 0
    lane: Lane | None = field(default=None)


def _lane(
    descriptions: Sequence[AlgorithmDescription],
    tell_death: TellDeath,
    *,
    is_fast: bool,
    alone: bool,
) -> Lane:
    niceness = 0 if is_fast or alone else _SLOW_NICENESS

    def died(why: Death) -> None:
        # Its experiment moves on, and comes to an answer.
        tell_death("slow" if is_fast and why == "stuck" else why)

    worker = WorkerProcess(descriptions, niceness=niceness, died=died)
    return Lane(worker, is_fast=is_fast)


class Lanes:
    """An experiment stays with one process, which remembers its past, and changes between fast and
    slow ones when its answers do; then its past is told anew. With one process there is one lane.

    presumed_fast: algorithms whose experiments begin among the fast ones. After that, a new
    experiment begins where the last one of its algorithm has come to.
    """

    def __init__(
        self,
        descriptions: Sequence[AlgorithmDescription],
        presumed_fast: frozenset[str],
        processes: int,
        *,
        tell_death: TellDeath = ignore_death,
    ) -> None:
        fast = max(1, processes // 2)
        self._lanes = [
            _lane(
                descriptions,
                tell_death,
                is_fast=number < fast and processes > 1,
                alone=processes == 1,
            )
            for number in range(processes)
        ]
        self._is_slow = {it.name: it.name not in presumed_fast for it in descriptions}
        self._paces: OrderedDict[str, _Pace] = OrderedDict()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [pid for lane in self._lanes if (pid := lane.worker.pid) is not None]

    def of(self, uid: str, algorithm: str) -> Lane:
        """Where the experiment computes now."""
        pace = self._paces.get(uid)
        if pace is None:
            is_slow = self._is_slow.get(algorithm, True)
            pace = self._paces[uid] = _Pace(algorithm=algorithm, is_slow=is_slow)
            if len(self._paces) > MAX_KNOWN_EXPERIMENTS:
                self.forget(next(iter(self._paces)))
        self._paces.move_to_end(uid)
        return self._settle(uid, pace)

    def _settle(self, uid: str, pace: _Pace) -> Lane:
        fitting = [it for it in self._lanes if it.is_fast is not pace.is_slow] or self._lanes
        lane = pace.lane
        best = min(fitting, key=lambda it: (it.asked, len(it.experiments)))
        if lane in fitting and not (lane.is_held and best.asked == 0):
            return lane
        if lane is not None:
            lane.forget(uid)
        best.experiments.add(uid)
        pace.lane = best
        return best

    async def ask(
        self, lane: Lane, question: Question, timeout_s: float, times: Times | None = None
    ) -> Reply:
        """Its turn comes in the order of asking. Adds to `times`. Raises Moved, and as
        `WorkerProcess.ask`."""
        if lane.is_closed:
            raise WorkerLost("closed")
        loop, asked_at, took_s = asyncio.get_running_loop(), monotonic(), 0.0
        if not lane.asked:
            lane.began = asked_at  # until its thread says so itself
        lane.asked += 1
        try:
            reply, took_s = await loop.run_in_executor(
                lane.thread, _ask_in_thread, lane, question, timeout_s
            )
        except WorkerStuck as stuck:
            if not lane.is_fast:
                raise
            self._change(question[0], is_slow=True)
            raise Moved from stuck
        finally:
            lane.asked -= 1
            if times is not None:
                times.computed_s += took_s
                times.waited_s += max(0.0, monotonic() - asked_at - took_s)
        if isinstance(reply, Proposal):
            self._measured(question[0], took_s)
        return reply

    def _measured(self, uid: str, took_s: float) -> None:
        pace = self._paces.get(uid)
        if pace is None:
            return
        speaks_against = took_s < SLOW_ANSWER_S / 2 if pace.is_slow else took_s > SLOW_ANSWER_S
        pace.against = pace.against + 1 if speaks_against else 0
        if pace.against >= (FAST_ANSWERS_TO_RETURN if pace.is_slow else SLOW_ANSWERS_TO_LEAVE):
            self._change(uid, is_slow=not pace.is_slow)

    def _change(self, uid: str, *, is_slow: bool) -> None:
        pace = self._paces.get(uid)
        if pace is not None:
            pace.is_slow, pace.against = is_slow, 0
            self._is_slow[pace.algorithm] = is_slow

    def forget(self, uid: str) -> None:
        pace = self._paces.pop(uid, None)
        if pace is not None and pace.lane is not None:
            pace.lane.forget(uid)

    async def close(self) -> None:
        for lane in self._lanes:
            lane.is_closed = True
            lane.worker.kill()
        for lane in self._lanes:
            # The thread comes free: its conversations end with the worker.
            await asyncio.to_thread(lane.thread.shutdown)
            lane.worker.end()


def _ask_in_thread(lane: Lane, question: Question, timeout_s: float) -> tuple[Reply, float]:
    """The reply, and what it took. Among the fast ones nobody may hold the others for long."""
    lane.began = monotonic()
    load_timeout_s = timeout_s
    if lane.is_fast:
        timeout_s = min(timeout_s, FAST_DEADLINE_S)
        load_timeout_s = min(load_timeout_s, FAST_LOAD_DEADLINE_S)
    reply = lane.worker.ask(question, timeout_s=timeout_s, load_timeout_s=load_timeout_s)
    return reply, lane.worker.took_s
