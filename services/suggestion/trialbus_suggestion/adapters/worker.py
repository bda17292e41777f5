"""The process that heavy algorithms compute in, and its conversation over a pipe."""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from random import Random
from typing import cast

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus_suggestion.core.memory import HistoryNeeded, Memory
from trialbus_suggestion.core.registry import Registry

# A killed process is gone at once, unless the machine is very busy.
LEAVE_DEADLINE_S = 5.0
# No pools of idle threads: algorithms compute in one.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What the pipe raises when the other side is gone.
GONE = (EOFError, ConnectionError, OSError)

Question = tuple[str, Study, ProposalRequest, History | None]
Reply = Proposal | HistoryNeeded


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
    """The worker process died before it answered."""


class WorkerProcess:
    """Starts on the first question. All but `kill` and `pid` is for one thread at a time."""

    def __init__(self, descriptions: Iterable[AlgorithmDescription], timeout_s: float) -> None:
        # Only what finds the code is sent: settings and checks hold functions, which may not cross.
        self._descriptions = [
            AlgorithmDescription(
                name=it.name, look_ahead=it.look_ahead, implementation=it.implementation
            )
            for it in descriptions
        ]
        self._timeout_s = timeout_s
        self._running: tuple[SpawnProcess, Connection] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        running = self._running
        return running[0].pid if running else None

    def ask(self, question: Question) -> Reply:
        """Raises WorkerLost, Transient when it takes too long, or what `Memory.answer` raised."""
        process, pipe = self._running or self._start()
        try:
            pipe.send(question)
            if not pipe.poll(self._timeout_s):
                self.end()
                raise Transient(f"the algorithm gave no answer in {self._timeout_s:g} s")
            reply = pipe.recv()
        except GONE as error:
            self.end()
            raise WorkerLost(f"exit code {process.exitcode}: {error!r}") from error
        if isinstance(reply, Failure):
            raise reply.as_error()
        return cast(Reply, reply)

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
        if running is None:
            return
        process, pipe = running
        process.kill()
        process.join(LEAVE_DEADLINE_S)
        pipe.close()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        if self._closed:
            raise WorkerLost("closed")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, self._descriptions), name="trialbus-algorithms", daemon=True
        )
        process.start()
        # Only the worker holds its end now, so either side sees the other's death.
        theirs.close()
        running = (process, ours)
        self._running = running
        if self._closed:  # between the question and the start
            self.end()
            raise WorkerLost("closed")
        return running


def serve(pipe: Connection, descriptions: list[AlgorithmDescription]) -> None:
    """The worker: answers until the pipe closes, which it does when the service dies."""
    # Ctrl-C reaches the whole group; the service decides when the worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in SINGLE_THREADED:
        os.environ.setdefault(name, "1")
    memory = Memory(Registry(descriptions), Random)
    with suppress(*GONE):
        while True:
            message = pipe.recv()
            if isinstance(message, str):
                memory.forget(message)
            else:
                pipe.send(_answered(memory, message))


def _answered(memory: Memory, question: Question) -> Reply | Failure:
    try:
        return memory.answer(*question)
    except (Transient, Refused) as error:
        return Failure.of(error)
