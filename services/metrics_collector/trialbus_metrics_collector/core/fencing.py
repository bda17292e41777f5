"""Whether the experiment still wants to hear of a run (law 4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAttempts:
    """What an experiment wants to run. attempts: by trial index. importing: its trials ended
    elsewhere, and bring what they had reported there."""

    phase: ExperimentPhase
    attempts: Mapping[int, int]
    importing: bool = False


def refusal(experiment: OpenAttempts | None, run: RunKey) -> str | None:
    """Why nothing of this run is wanted any more; None while it is."""
    if experiment is None or experiment.phase is ExperimentPhase.DELETED:
        return "the experiment is deleted"
    if experiment.importing:
        return None
    attempt = experiment.attempts.get(run.index)
    if attempt is None:
        return f"trial {run.index} is not open"
    if attempt != run.attempt:
        return f"trial {run.index} is at attempt {attempt}, not {run.attempt}"
    return None
