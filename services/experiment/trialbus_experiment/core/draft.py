"""A working copy of one experiment while a decision is made; frozen again at the end."""

from dataclasses import dataclass, replace
from typing import Any

from trialbus.kernel.conditions import set_condition
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import (
    SCHEDULING_PHASES,
    ClosingTrial,
    Experiment,
    ExperimentPhase,
    OpenTrial,
    Verdict,
)
from trialbus_experiment.core.states import Happening, after


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """state: what to commit (the same object when nothing changed). reason: for the log."""

    state: Experiment
    reason: str


class Draft:
    """Collects changes to `state` and the events that they cause."""

    def __init__(self, state: Experiment, now: float) -> None:
        self.before = state
        self.state = state
        self.now = now
        self.open: dict[int, OpenTrial] = {int(key): trial for key, trial in state.open.items()}
        self.closing: dict[int, ClosingTrial] = {
            int(key): trial for key, trial in state.closing.items()
        }
        # Trials whose attempt was lost, with why.
        self.retried: dict[int, str] = {}
        # Why no trial may open any more though others may still run; None: they may.
        self.out_of_time: str | None = None
        self._events: dict[str, Event] = {}
        self._reasons: list[str] = []

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def move(self, happening: Happening) -> None:
        """The experiment's own clock goes while trials may open."""
        ran, phase = self.state.phase in SCHEDULING_PHASES, after(self.state.phase, happening)
        runs = phase in SCHEDULING_PHASES
        if ran and not runs:
            self.set(ran_s=self.state.ran_until(self.now), runs_since=None)
        elif runs and not ran:
            self.set(runs_since=self.now)
        self.set(phase=phase)

    def note(self, reason: str) -> None:
        self._reasons.append(reason)

    def condition(self, type_: str, *, status: bool = True, reason: str, message: str) -> None:
        self.set(
            conditions=set_condition(
                self.state.conditions,
                type_,
                status=status,
                reason=reason,
                message=message,
                now=self.now,
            )
        )

    def no_longer_restarting(self, reason: str, message: str) -> None:
        """Katib leaves `Restarting` as it is; its client asks for it to learn whether it is."""
        if any(it.type == "Restarting" and it.status for it in self.state.conditions):
            self.condition("Restarting", status=False, reason=reason, message=message)

    def emit(self, type_: str, *, reason: str = "", message: str = "", **data: Any) -> None:
        """One event of each type per commit: the newest wins."""
        self._events[type_] = Event(
            id=f"{self.state.id}@{self.before.version + 1}.{type_}",
            type=type_,
            uid=self.state.id,
            namespace=self.state.namespace,
            experiment=self.state.name,
            at=self.now,
            reason=reason,
            message=message,
            data=data,
        )

    def end_with(self, phase: ExperimentPhase, reason: str, message: str) -> None:
        """The verdict is reached: no more trials, whatever is still running."""
        self.move(Happening.VERDICT_REACHED)
        self.set(verdict=Verdict(phase=phase, reason=reason, message=message))
        self.note(reason)
        self.emit("experiment.ending", reason=reason, message=message)

    def freeze(self) -> Decision:
        open_ = {str(index): trial for index, trial in sorted(self.open.items())}
        closing = {str(index): trial for index, trial in sorted(self.closing.items())}
        if (open_, closing) != (dict(self.state.open), dict(self.state.closing)):
            self.set(open=open_, closing=closing)
        if self._events:
            kept = [event for event in self.state.outbox if event.type not in self._events]
            outbox_at = self.state.outbox_at if self.state.outbox_at is not None else self.now
            self.set(outbox=(*kept, *self._events.values()), outbox_at=outbox_at)
        if self.state is self.before or self.state == self.before:
            return Decision(state=self.before, reason="nothing to do")
        self.set(version=self.before.version + 1)
        return Decision(state=self.state, reason="; ".join(self._reasons) or "advanced")
