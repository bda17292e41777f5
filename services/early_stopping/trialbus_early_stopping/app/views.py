"""What the stopping service sees of experiments and finished trials: only the fields it needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialbus.contracts.documents import DocumentCodec
from trialbus.kernel.experiment import ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.ids import run_id
from trialbus.kernel.objective import Objective
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase

EXPERIMENT_FIELDS = (
    "namespace",
    "name",
    "phase",
    "spec",
    "open",
    "finished",
    "completed_at",
    "traceparent",
)
TRIAL_FIELDS = ("uid", "index", "attempt", "name", "phase", "finished")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSpec:
    objective: Objective
    early_stopping: AlgorithmSpec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedExperiment:
    id: str
    namespace: str
    name: str
    phase: ExperimentPhase
    spec: WatchedSpec
    open: Mapping[str, OpenTrial]
    finished: int
    completed_at: float | None
    traceparent: str | None = None

    @property
    def rule(self) -> AlgorithmSpec | None:
        """Its stopping rule, while that has something to decide; else None."""
        return self.spec.early_stopping if self.phase is ExperimentPhase.RUNNING else None

    @property
    def running(self) -> dict[str, int]:
        """Run id -> trial index, of attempts that nobody wants stopped yet."""
        return {
            run_id(self.id, int(index), trial.attempt): int(index)
            for index, trial in self.open.items()
            if trial.state is OpenState.ACTIVE and not trial.stop
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTrial:
    id: str
    uid: str
    index: int
    attempt: int
    name: str
    phase: TrialPhase
    finished: int

    @property
    def run(self) -> str:
        return run_id(self.uid, self.index, self.attempt)

    @property
    def counts(self) -> bool:
        """Stopped and failed trials are no part of the median."""
        return self.phase is TrialPhase.SUCCEEDED


WATCHED_EXPERIMENT = DocumentCodec(WatchedExperiment)
FINISHED_TRIAL = DocumentCodec(FinishedTrial)
