"""A process that algorithms compute in, and the conversation with it over a pipe."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from random import Random
from time import monotonic
from typing import cast

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.limits import WORKER_START_DEADLINE_S
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus_suggestion.app.deaths import Death, TellDeath, ignore_death
from trialbus_suggestion.core.memory import HistoryNeeded, Memory
from trialbus_suggestion.core.registry import Registry

# A killed process is gone at once, unless the machine is very busy.
LEAVE_DEADLINE_S = 5.0
# Waiting goes by such slices, each of which counts once however long it took: while this process
# itself was stopped, or the machine asleep, nobody computed. Also, a process may be dead although
# its end of the pipe lives on in one that it forked.
SLICE_S = 0.5
# No pools of idle threads: algorithms compute in one.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What the pipe raises when the other side is gone.
GONE = (EOFError, ConnectionError, OSError)
READY = "ready"

Question = tuple[str, Study, ProposalRequest, History | None]
Reply = Proposal | HistoryNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Import the code of this algorithm."""

    algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as it crosses the pipe; problems None: Transient."""

    message: str
    problems: tuple[Problem, ...] | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, error: Transient | Refused) -> "Failure":
        problems = error.problems if isinstance(error, Refused) else None
        notes = tuple(getattr(error, "__notes__", ()))
        return cls(message=str(error), problems=problems, notes=notes)

    def as_error(self) -> Transient | Refused:
        error = Transient(self.message) if self.problems is None else Refused(self.problems)
        for note in self.notes:
            error.add_note(note)
        return error


class WorkerLost(Exception):
    """The worker process died before it answered: how."""


class WorkerStuck(Exception):
    """It has not answered in time, and was killed."""


class WorkerUnavailable(Exception):
    """No process could be started: nothing that an algorithm has done."""


class WorkerProcess:
    """Starts on the first question. All but `kill` and `pid` is for one thread at a time. died:
    hears, in that thread, of each end that nobody has told it to come to."""

    def __init__(
        self,
        descriptions: Iterable[AlgorithmDescription],
        *,
        niceness: int = 0,
        died: TellDeath = ignore_death,
    ) -> None:
        self._niceness = niceness
        self._died = died
        # Only what finds the code and checks its answers is sent: settings and checks hold
        # functions, which may not cross.
        self._descriptions = [
            AlgorithmDescription(
                name=it.name,
                look_ahead=it.look_ahead,
                implementation=it.implementation,
                resource_setting=it.resource_setting,
            )
            for it in descriptions
        ]
        self._running: tuple[SpawnProcess, Connection] | None = None
        self._loaded: set[str] = set()
        self._closed = False
        # What the last question took, without loading.
        self.took_s = 0.0

    @property
    def pid(self) -> int | None:
        running = self._running
        return running[0].pid if running else None

    def ask(self, question: Question, *, timeout_s: float, load_timeout_s: float) -> Reply:
        """Raises WorkerLost, WorkerStuck, WorkerUnavailable, or what `Memory.answer` raised.
        load_timeout_s: for the algorithm's libraries, which it loads once."""
        if self._running is not None and not self._running[0].is_alive():
            # While nobody asked: this question has nothing to do with it.
            self._lost(_death_of(self._running[0].exitcode))
        running = self._running or self._start()
        algorithm = question[1].algorithm.name
        if algorithm not in self._loaded:
            self._exchange(running, Load(algorithm=algorithm), load_timeout_s)
            self._loaded.add(algorithm)
        started = monotonic()
        reply = cast(Reply, self._exchange(running, question, timeout_s))
        self.took_s = monotonic() - started
        return reply

    def forget(self, uid: str) -> None:
        if self._running is not None:
            # A worker that is gone has forgotten.
            with suppress(*GONE):
                self._running[1].send(uid)

    def kill(self) -> None:
        """End the worker for good, whatever it is doing: an `ask` under way raises WorkerLost."""
        self._closed = True
        running = self._running
        if running is not None:
            running[0].kill()

    def end(self) -> None:
        """Leave no process behind; the next question would start a new one."""
        running, self._running = self._running, None
        self._loaded.clear()
        if running is None:
            return
        process, pipe = running
        process.kill()
        process.join(LEAVE_DEADLINE_S)
        pipe.close()

    def _lost(self, why: Death) -> None:
        """It has ended, or must, though its work goes on elsewhere."""
        self.end()
        if not self._closed:
            self._died(why)

    def _exchange(
        self, running: tuple[SpawnProcess, Connection], message: object, timeout_s: float
    ) -> object:
        """Its reply. Raises as `ask`."""
        process, pipe = running
        try:
            pipe.send(message)
            reply = self._received(running, timeout_s)
        except WorkerStuck:
            self._lost("stuck")
            raise
        except GONE as error:
            process.join(LEAVE_DEADLINE_S)
            how = how_it_ended(process.exitcode)
            self._lost(_death_of(process.exitcode))
            raise WorkerLost(how) from error
        except Exception as error:
            # What it wrote is no message: an algorithm has written into the pipe.
            self._lost("crashed")
            raise WorkerLost(f"garbage in its pipe, {type(error).__name__}") from error
        if isinstance(reply, Failure):
            raise reply.as_error()
        return reply

    def _received(self, running: tuple[SpawnProcess, Connection], timeout_s: float) -> object:
        process, pipe = running
        left_s = timeout_s
        while not pipe.poll(min(SLICE_S, left_s)):
            left_s -= SLICE_S
            if process.exitcode is not None and not pipe.poll(0):
                raise EOFError
            if left_s <= 0:
                raise WorkerStuck(f"gave no answer in {timeout_s:g} s")
        return pipe.recv()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        if self._closed:
            raise WorkerLost("closed")
        context = multiprocessing.get_context("spawn")
        try:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve,
                args=(theirs, self._descriptions, self._niceness),
                name="trialbus-algorithms",
                daemon=True,
            )
            process.start()
        except OSError as error:
            self._lost("unstarted")
            raise WorkerUnavailable(f"no process for algorithms can be started: {error}") from error
        # Only the worker holds its end now, so either side sees the other's death.
        theirs.close()
        running = (process, ours)
        self._running = running
        if self._closed:  # between the question and the start
            self.end()
            raise WorkerLost("closed")
        self._await_ready(running)
        return running

    def _await_ready(self, running: tuple[SpawnProcess, Connection]) -> None:
        """Until then it has run nothing but our own code."""
        try:
            self._received(running, WORKER_START_DEADLINE_S)
        except (*GONE, WorkerStuck, pickle.UnpicklingError) as error:
            self._lost("unstarted")
            if self._closed:
                raise WorkerLost("closed") from error
            how = how_it_ended(running[0].exitcode)
            raise WorkerUnavailable(f"a process for algorithms did not start: {how}") from error


def _death_of(exit_code: int | None) -> Death:
    return "killed" if exit_code == -signal.SIGKILL else "crashed"


def how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "no exit code"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"{name} (out of memory, perhaps)" if number == signal.SIGKILL else name


def serve(pipe: Connection, descriptions: list[AlgorithmDescription], niceness: int = 0) -> None:
    """The worker: answers until the pipe closes, which it does when the service dies."""
    os.nice(niceness)
    # Ctrl-C, or the end of a container, reaches the whole group; the service decides when the
    # worker ends.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    # What an algorithm prints goes where warnings go.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    for name in SINGLE_THREADED:
        os.environ.setdefault(name, "1")
    memory = Memory(Registry(descriptions), Random)
    with suppress(*GONE):
        pipe.send(READY)
        while True:
            message = pipe.recv()
            if isinstance(message, str):
                memory.forget(message)
            else:
                pipe.send(_answered(memory, message))


def _end_with_the_service() -> None:
    """Also out of a computation that never looks at the pipe again."""
    service = multiprocessing.parent_process()
    if service is not None:
        service.join()
        os._exit(1)


def _answered(memory: Memory, message: Load | Question) -> Reply | Failure | None:
    try:
        if not isinstance(message, Load):
            return memory.answer(*message)
        memory.load(message.algorithm)
    except (Transient, Refused) as error:
        return Failure.of(error)
    return None
