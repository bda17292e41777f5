"""Where runs execute, as the launcher's reactions need it: this machine, or a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run
from trialbus.kernel.spec import CollectorKind
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import Launcher, Plan, RunState, RunStatus
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.plans import Place
from trialbus_trial_launcher.app.sources.choosing import source_of
from trialbus_trial_launcher.app.sources.means import Means
from trialbus_trial_launcher.app.sources.source import Source
from trialbus_trial_launcher.app.starting import plans_of


class RunPlace(Protocol):
    """host: stable over restarts; runs of one host can be taken over by all its launchers.
    is_told: its launcher finds a run only by its plan."""

    @property
    def host(self) -> str: ...

    @property
    def boot_id(self) -> str: ...

    @property
    def is_told(self) -> bool: ...

    @property
    def artifact_root(self) -> str: ...

    def roots(self) -> tuple[str, ...]:
        """Of folders here that trials leave things in."""

    def plans(self, state: Experiment, trial: Trial, run: Run) -> Sequence[Plan]:
        """All that starts for one run. Raises Refused when its values do not fit its template."""

    def source(self, state: Experiment, run: Run, plans: Sequence[Plan]) -> Source:
        """Where its points come from. plans: as it was started, if that is known."""

    def starts_again(
        self, state: Experiment, run: Run, status: RunStatus, plans: Sequence[Plan]
    ) -> bool:
        """Whether a run that was claimed is to be started by who takes it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMachine:
    """Processes of this machine."""

    place: Place
    means: Means
    launcher: Launcher
    parts: Parts

    @property
    def host(self) -> str:
        return self.place.host

    @property
    def boot_id(self) -> str:
        return self.place.boot_id

    @property
    def is_told(self) -> bool:
        return False

    @property
    def artifact_root(self) -> str:
        return self.place.artifact_root

    def roots(self) -> tuple[str, ...]:
        return self.place.roots()

    def plans(self, state: Experiment, trial: Trial, run: Run) -> Sequence[Plan]:
        return plans_of(state, trial, run.attempt, self.place, self.means)

    def source(self, state: Experiment, run: Run, plans: Sequence[Plan]) -> Source:  # noqa: ARG002
        return source_of(state, run.id, self.launcher, self.parts, self.means)

    def starts_again(
        self,
        state: Experiment,
        run: Run,
        status: RunStatus,
        plans: Sequence[Plan],  # noqa: ARG002
    ) -> bool:
        if status.state is RunState.ABSENT and run.boot_id == self.place.boot_id:
            return True
        # The last process may have died between the start of a trial and of its collector.
        beside = state.spec.metrics_collector.kind is CollectorKind.CUSTOM
        return beside and status.state in (RunState.RUNNING, RunState.FINISHED)
