"""From a trial to the command that runs it."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trialbus.kernel.checkpoints import (
    HEIRS_VARIABLE,
    Checkpoint,
    checkpoint_of,
    checkpoints_of,
    is_uri,
)
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id
from trialbus.kernel.images import NO_IMAGES, LocalImages
from trialbus.kernel.spec import MetricsCollectorSpec, MetricsPath, PathKind
from trialbus.kernel.templates import (
    DefaultTemplate,
    MetricsFile,
    TrialIdentity,
    render_command,
)
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import PRIVATE_FOLDER, CheckpointFolder, RunPlan
from trialbus_trial_launcher.core.kept import has_no_heirs

# Linux takes 4096 bytes for a whole path; the run's own folder needs some of them.
_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this launcher runs things. host: stable over restarts on the same folder.
    runs_folder: holds one folder per run. checkpoint_root: folder or URI that those of all trials
    are below; artifact_root: the same of what they leave for people. interpreter: what `python`
    means there. images: what stands for container images."""

    host: str
    boot_id: str
    runs_folder: str
    checkpoint_root: str
    artifact_root: str
    interpreter: str
    default_template: DefaultTemplate
    images: LocalImages = NO_IMAGES

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether they are folders here."""
        return not is_uri(self.checkpoint_root)

    def roots(self) -> tuple[str, ...]:
        """Of folders here that trials leave things in."""
        return tuple(it for it in (self.checkpoint_root, self.artifact_root) if not is_uri(it))

    def metrics_file(self, collector: MetricsCollectorSpec, run: str) -> MetricsFile | None:
        """What the collector reads of a run, which is the run's own; None: no file."""
        if collector.path is None:
            return None
        private = f"{self.runs_folder}/{run}/{PRIVATE_FOLDER}"
        return MetricsFile(path=collector.path.path, local=f"{private}/{inside(collector.path)}")


def plan_of(
    state: Experiment,
    trial: Trial,
    attempt: int,
    place: Place,
    *,
    variables: Mapping[str, str] | None = None,
) -> RunPlan:
    """`variables`: more of them, for the command and its template. Raises Refused when the trial's
    values do not fit its template."""
    run = run_id(state.id, trial.index, attempt)
    collector = state.spec.metrics_collector
    metrics = place.metrics_file(collector, run)
    algorithm = state.spec.algorithm
    checkpoint = checkpoint_of(
        place.checkpoint_root, state.id, trial.index, trial.parent, algorithm
    )
    artifacts = f"{checkpoints_of(place.artifact_root, state.id)}/{trial.index}"
    checkpoint = replace(checkpoint, artifacts=artifacts)
    rendered = render_command(
        state.spec.template or place.default_template,
        TrialIdentity(
            namespace=state.namespace, experiment=state.name, name=trial.name, attempt=attempt
        ),
        trial.assignments,
        interpreter=place.interpreter,
        working_dir=state.spec.working_dir,
        images=place.images,
        metrics=metrics,
        checkpoint=checkpoint,
        variables={**(variables or {}), HEIRS_VARIABLE: "no" if has_no_heirs(state) else "perhaps"},
    )
    return RunPlan(
        run_id=run,
        command=rendered.command,
        env=rendered.env,
        working_dir=rendered.working_dir,
        deadline_s=rendered.deadline_s,
        files={"parameters.json": rendered.parameters_json},
        folders=_folders(collector),
        search_path=rendered.search_path,
        image=rendered.image,
        checkpoint=_checkpoint_folder(checkpoint),
        artifacts="" if is_uri(artifacts) else artifacts,
    )


def _checkpoint_folder(checkpoint: Checkpoint) -> CheckpointFolder | None:
    if checkpoint.is_uri:
        return None
    return CheckpointFolder(path=checkpoint.own, copy_of=checkpoint.inherited)


def _folders(collector: MetricsCollectorSpec) -> tuple[str, ...]:
    """Those that a container would find: the collector's own, or that of its file. Raises
    Refused."""
    if collector.path is None:
        return ()
    path = inside(collector.path)
    longest = max(len(part.encode()) for part in path.split("/"))
    if "\0" in path or longest > _MAX_NAME_BYTES or len(path.encode()) > _MAX_PATH_BYTES:
        where = "spec.metricsCollectorSpec.source.fileSystemPath.path"
        raise Refused([Problem(field=where, message="is no path that this system takes")])
    return (path if collector.path.kind is PathKind.DIRECTORY else posixpath.dirname(path),)


def inside(path: MetricsPath) -> str:
    """Relative to the private folder, which no `..` leaves."""
    return posixpath.normpath("/" + path.path.lstrip("/")).lstrip("/")
