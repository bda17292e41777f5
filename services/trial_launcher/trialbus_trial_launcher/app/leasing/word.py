"""One thing that a worker says of one trial, and its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from trialbus.contracts.work import Answered, HeldTrial
from trialbus.kernel.run import Run, RunPhase
from trialbus_trial_launcher.app.leasing.work import Work

T = TypeVar("T", bound=HeldTrial)


@dataclass(slots=True)
class Word(Generic[T]):
    """run_id: "" if the experiment has no such trial. answer: None until it is known."""

    work: Work
    item: T
    answer: Answered | None = None
    run_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.run_id = self.work.run_of(self.item.trial, self.item.attempt) or ""

    def accept(self, *, stop: str = "") -> None:
        self._answer(accepted=True, refused=None, stop=stop)

    def refuse(self, why: str | None, *, stop: str = "") -> None:
        """why None: nobody knows; it is to be repeated."""
        self._answer(accepted=False, refused=why, stop=stop)

    def _answer(self, *, accepted: bool, refused: str | None, stop: str) -> None:
        item = self.item
        self.answer = Answered(
            trial=item.trial, attempt=item.attempt, accepted=accepted, refused=refused, stop=stop
        )


def unanswered(words: Sequence[Word[T]]) -> list[Word[T]]:
    return [word for word in words if word.answer is None]


def refuse_not_held(words: Sequence[Word[T]], runs: Mapping[str, Run]) -> None:
    """runs: as they are now. Who has lost the trial is told why."""
    leased = {key: run for key, run in runs.items() if run.leased}
    refuse_ended(words, leased)


def refuse_ended(words: Sequence[Word[T]], runs: Mapping[str, Run]) -> None:
    """Words of attempts that were never begun, or do not run any more."""
    for word in unanswered(words):
        run = runs.get(word.run_id)
        if run is None:
            trial, attempt = word.item.trial, word.item.attempt
            word.refuse(f"attempt {attempt} of {trial} was not given out")
        elif run.ended:
            word.refuse(_how_it_ended(run), stop=run.stop_reason or run.phase.value)


def _how_it_ended(run: Run) -> str:
    if run.phase is RunPhase.LOST:
        return f"the lease is over: {run.message}"
    if run.stop_reason:
        return f"it was stopped: {run.stop_reason}"
    return "its result was told before"
