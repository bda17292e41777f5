"""What a launcher must do so that the runs are as the experiment wants them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import Run, StopReason

SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intend:
    """No run of this attempt exists: claim it in the store, then start it."""

    index: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverStart:
    """The attempt is to be stopped before it was started: record that it ended so."""

    index: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """A run of this host that this process does not follow yet: look what became of it."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    run_id: str
    reason: str


Action = Intend | NeverStart | TakeOver | Stop


def wanted_runs(state: Experiment) -> dict[str, int]:
    """Run id -> trial index of every attempt that the experiment has open."""
    return {
        run_id(state.id, int(index), trial.attempt): int(index)
        for index, trial in state.open.items()
        if trial.state is OpenState.ACTIVE
    }


def decide(
    state: Experiment,
    *,
    followed: frozenset[str],
    recorded: Mapping[str, Run],
    verdicts: frozenset[str],
    host: str,
) -> list[Action]:
    """followed: run ids of this experiment that this process follows. recorded: runs of wanted
    attempts that are in the store. verdicts: run ids that a stopping rule wants stopped."""
    actions: list[Action] = []
    wanted = wanted_runs(state)
    for key, index in wanted.items():
        trial = state.open[str(index)]
        stop = trial.stop or (StopReason.EARLY_STOPPED.value if key in verdicts else "")
        run = recorded.get(key)
        if key in followed:
            if stop:
                actions.append(Stop(run_id=key, reason=stop))
        elif run is None:
            actions.append(
                NeverStart(index=index, attempt=trial.attempt, reason=trial.stop)
                if trial.stop
                else Intend(index=index, attempt=trial.attempt)
            )
        elif not run.ended and run.host == host:
            actions.append(TakeOver(run=run))
            if stop:
                actions.append(Stop(run_id=key, reason=stop))
    actions.extend(Stop(run_id=key, reason=SUPERSEDED) for key in sorted(followed - wanted.keys()))
    return actions
