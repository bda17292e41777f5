"""Trials that a sync worker asked for."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextvars import Token
from types import TracebackType
from typing import Self

from trialbus.client.current import CURRENT, Current
from trialbus.client.desks import Desk, GroupDesk
from trialbus.client.failures import NothingTold, TrialbusError
from trialbus.client.held import Held, TrialFacts, message_of, read_result
from trialbus.client.words import ASK_WAIT_S


class AskedTrial(TrialFacts):
    """A trial that this worker holds until it tells how it ended.

    As a context manager: an exception in the block tells that the trial failed, and goes on up;
    KeyboardInterrupt and SystemExit give the trial back. A block that ends without `tell` tells
    what was reported last.
    """

    def __init__(self, held: Held, desk: Desk) -> None:
        super().__init__(held, desk.place.namespace, desk.place.name)
        self._desk = desk
        self._outside: Token[Current | None] | None = None

    def report(
        self,
        step: int | Mapping[str, float] | None = None,
        metrics: Mapping[str, float] | None = None,
        /,
        **values: float,
    ) -> None:
        """`report(3, loss=0.1)` or `report({"f1/a": 0.1})`: stored when it comes back. The same
        step is taken once. Raises LeaseLost."""
        self._desk.report(self._held, self._held.report(step, metrics, values))

    def tell(self, value: float | Mapping[str, float] | None = None, /, **values: float) -> None:
        """It succeeded: `tell(loss=0.1)`, or `tell(0.1)` for the objective alone; with nothing,
        what was reported last counts. Of a trial that the experiment itself has stopped nothing is
        wanted any more, so nothing is sent. Raises NothingTold without a value of
        the objective, LeaseLost, Refused."""
        self._held.check()
        if self._held.ended:
            self._held.done = True
            return
        objective = self._desk.objective()
        found = read_result(value, values, self._held.last, objective)
        self._desk.tell(self._held, self._held.success(found))

    def fail(self, message: str) -> None:
        """It failed, and counts as failed. Raises LeaseLost."""
        self._held.check()
        self._desk.tell(self._held, self._held.failure(message))

    def release(self) -> None:
        """Give it back undone: somebody gets it as its next attempt."""
        if not self._held.is_over:
            self._desk.release(self._held)

    def __enter__(self) -> Self:
        self._outside = CURRENT.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._outside is not None:
            CURRENT.reset(self._outside)
            self._outside = None
        if self._held.is_over:
            return
        if error is None:
            self.leave()
            return
        # What is raised in the block is the news; that it could not be told is not.
        with contextlib.suppress(TrialbusError):
            if isinstance(error, Exception):
                self.fail(message_of(error))
            else:
                self.release()

    def leave(self) -> None:
        """Tell what was reported last. Raises NothingTold if that is not enough."""
        try:
            self.tell()
        except NothingTold as error:
            with contextlib.suppress(TrialbusError):
                self.fail(f"its worker left it: {error}")
            raise


def trials_of(desk: GroupDesk) -> Iterator[AskedTrial]:
    """One after the other until the experiment is over."""
    trial: AskedTrial | None = None
    try:
        while True:
            if trial is not None:
                _leave(trial)
            held = desk.take()
            if held is not None:
                trial = AskedTrial(held, desk)
                if trial.should_stop():
                    trial.release()
                else:
                    yield trial
                continue
            trial = None
            if desk.batch.over and not desk.batch.results:
                return
            desk.exchange(ASK_WAIT_S)
    finally:
        if trial is not None:
            with contextlib.suppress(TrialbusError):
                trial.release()
        with contextlib.suppress(TrialbusError):
            desk.close()


def _leave(trial: AskedTrial) -> None:
    if not trial._held.is_over:
        trial.leave()


def this_worker() -> str:
    """For people who look who has a trial."""
    name = f"{socket.gethostname()}/{os.getpid()}"
    return "".join(each if " " <= each <= "~" else "?" for each in name)[:200]
