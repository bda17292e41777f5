"""An experiment in a few numbers, for displays that ask often."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trialbus.kernel.checkpoints import Checkpoint
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import BestTrial, Experiment, OpenState
from trialbus.kernel.images import NO_IMAGES, LocalImages
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.templates import DefaultTemplate, TrialIdentity, render_command

# Behind the name of a trial's checkpoint: that of its repetition by hand.
_AGAIN = "-again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCounts:
    """created: all so far; the others add up to it. paused: no attempt of it lives until the
    experiment is resumed."""

    created: int
    pending: int
    paused: int
    running: int
    succeeded: int
    failed: int
    killed: int
    early_stopped: int
    metrics_unavailable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCopy:
    """A folder to make before, so that what the trial left stays as it is. copy_of: what is in it
    at first; "": nothing."""

    path: str
    copy_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a trial's attempt runs, so that a person can repeat it. env: what its command has to be
    told beside its words."""

    command: tuple[str, ...]
    working_dir: str | None
    env: Mapping[str, str] = field(default_factory=dict)
    checkpoint: CheckpointCopy | None = None


def count_trials(state: Experiment, running: int) -> TrialCounts:
    """running: how many of the open trials have a run that has not ended."""
    counts = state.counts
    paused = sum(open_.state is OpenState.PAUSED for open_ in state.open.values())
    return TrialCounts(
        created=state.next_index,
        pending=len(state.open) - paused - running,
        paused=paused,
        running=running,
        succeeded=counts.succeeded,
        failed=counts.failed,
        killed=counts.killed,
        early_stopped=counts.early_stopped,
        metrics_unavailable=counts.metrics_unavailable,
    )


def process_of(
    state: Experiment,
    best: BestTrial,
    *,
    default: DefaultTemplate,
    interpreter: str,
    checkpoint: Checkpoint,
    images: LocalImages = NO_IMAGES,
) -> Process | None:
    """None for a template that is no process (an object of a cluster), and where workers run the
    trials."""
    if state.spec.trials_by is TrialsBy.WORKERS:
        return None
    again = replace(checkpoint, own=f"{checkpoint.own}{_AGAIN}")
    identity = TrialIdentity(namespace=state.namespace, experiment=state.name, name=best.name)
    try:
        rendered = render_command(
            state.spec.template or default,
            identity,
            best.assignments,
            interpreter=interpreter,
            working_dir=state.spec.working_dir,
            images=images,
            checkpoint=again,
        )
    except Refused:
        return None
    process = Process(command=rendered.command, working_dir=rendered.working_dir)
    if not again.parent and not any(again.own in word for word in rendered.command):
        return process  # it begins anew, and where it saves is its own matter
    copy = None if again.is_uri else CheckpointCopy(path=again.own, copy_of=again.inherited)
    return replace(process, env=again.variables(), checkpoint=copy)
