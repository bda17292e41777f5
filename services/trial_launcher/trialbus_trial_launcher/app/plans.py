"""From a trial to the command that runs it."""

from dataclasses import dataclass

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id
from trialbus.kernel.templates import DefaultTemplate, TrialIdentity, render_command
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this launcher runs things. host: stable over restarts on the same folder.
    interpreter: what `python` means there."""

    host: str
    boot_id: str
    interpreter: str
    default_template: DefaultTemplate


def plan_of(state: Experiment, trial: Trial, attempt: int, place: Place) -> RunPlan:
    """Raises Refused when the trial's values do not fit its template."""
    rendered = render_command(
        state.spec.template or place.default_template,
        TrialIdentity(
            namespace=state.namespace, experiment=state.name, name=trial.name, attempt=attempt
        ),
        trial.assignments,
        interpreter=place.interpreter,
        working_dir=state.spec.working_dir,
    )
    return RunPlan(
        run_id=run_id(state.id, trial.index, attempt),
        command=rendered.command,
        env=rendered.env,
        working_dir=rendered.working_dir,
        deadline_s=rendered.deadline_s,
        files={"parameters.json": rendered.parameters_json},
    )
